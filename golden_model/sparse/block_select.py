# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.block_select`: any search finds the same threshold."""

from golden_model.sparse.histogram_select import select

__all__ = ["select"]
