# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.sign_dot`."""

from golden_model.arrays import Ints
from golden_model.attention_config import SignDotConfig
from golden_model.kv.row_code import row_steps

__all__ = ["sign_dot"]


def sign_dot(config: SignDotConfig, queries: Ints, codes: Ints) -> Ints:
    """Sum [...] query codes [..., lanes] times the steps of mid-rise codes [..., lanes]."""
    sums: Ints = (queries * row_steps(codes, config.code_bits, "midrise")).sum(axis=-1)
    return sums
