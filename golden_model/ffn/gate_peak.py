# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.gate_peak`."""

from golden_model.arrays import Ints
from golden_model.config import WORD_BITS
from golden_model.vector_config import Relu2GluConfig

__all__ = ["cycles", "gate_shift"]


def gate_shift(gate: Ints, peak_bits: int) -> int:
    """Shift of one token's gated products, from a bound on ``|up|`` of `peak_bits` bits."""
    largest = max(0, int(gate.max()))
    return max(0, 2 * largest.bit_length() + peak_bits - (WORD_BITS - 1))


def cycles(config: Relu2GluConfig, n: int) -> int:
    """Cycles from the first transfer on ``i`` to the last on ``o`` of `n` gates, unstalled."""
    return -(-n // config.lanes) - 1 + config.peak_latency
