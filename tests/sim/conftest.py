# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the simulation tools' tests."""

from tests.cocotb.conftest import icarus

__all__ = ["icarus"]
