# SPDX-License-Identifier: Apache-2.0
"""Whatever computes a model's next token: the same token from each (``docs/link.md``)."""
