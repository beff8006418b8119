# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.residual_stream`."""

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.config import WORD_BITS
from golden_model.formats import saturate
from golden_model.stream_config import ResidualStreamConfig

__all__ = ["add", "cycles", "load"]


def load(codes: Ints, scale: Floats, shift: int) -> Ints:
    """Words [n] of the embedding's codes."""
    return smallfloat.scale_int(codes, scale, shift)


def add(x: Ints, sums: Ints, scale: Floats, shift: int) -> Ints:
    """Words [n] plus sums [n] brought to their fixed point."""
    return saturate(x + smallfloat.scale_int(sums, scale, shift), WORD_BITS)


def cycles(config: ResidualStreamConfig, action: str, beats: int) -> int:
    """Cycles that a command takes, its transfer the last, if no stream waits."""
    if action == "load":
        return beats + config.add.latency
    if action == "read":
        return config.read_latency + 2 * beats
    return config.read_latency + beats + config.add.latency
