# SPDX-License-Identifier: Apache-2.0
"""Parameters of the unit that chooses a token (standard library only)."""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, _at_least
from golden_model.head_config import ArgmaxConfig
from golden_model.memory_config import SramConfig
from golden_model.quant_config import FloatUnitConfig, RoundingShifterConfig, ScaleLanesConfig
from golden_model.softmax_config import WEIGHT_BITS

__all__ = ["RANDOM_BITS", "SamplerConfig"]

RANDOM_BITS = 32
"""Bits of the generator's state."""


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Geometry of greedy decoding and temperature sampling."""

    logit_bits: int = 29
    max_vocab: int = 4096
    """Most logits of a token; as many words of 24 bits are kept."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, logit_bits=2, max_vocab=2)
        _ = self.argmax, self.scale, self.scores

    @property
    def argmax(self) -> ArgmaxConfig:
        """Configuration of the search for the largest logit."""
        return ArgmaxConfig(logit_bits=self.logit_bits, max_vocab=self.max_vocab)

    @property
    def scale(self) -> ScaleLanesConfig:
        """Configuration of what turns logits into units of log2."""
        return ScaleLanesConfig(lanes=1, in_bits=self.logit_bits,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def scores(self) -> SramConfig:
        """Memory of one token's scores."""
        return SramConfig(depth=self.max_vocab, width=WORD_BITS, ports="1rw")

    @property
    def table_shifter(self) -> RoundingShifterConfig:
        """Entry of the table, shifted by the whole octaves."""
        return RoundingShifterConfig(value_bits=WEIGHT_BITS, window_bits=WEIGHT_BITS, signed=False)

    @property
    def total_bits(self) -> int:
        """Bits of the sum of all weights."""
        return WEIGHT_BITS - 1 + self.max_vocab.bit_length()

    @property
    def weight_latency(self) -> int:
        """Cycles from a score's address to its weight.

        The score's memory, its distance, the table, the shifter, the rounding.
        """
        return 1 + 1 + 1 + self.table_shifter.latency + 1

    @property
    def greedy_latency(self) -> int:
        """Cycles from the last logit's transfer to the token without sampling."""
        return self.argmax.latency

    @property
    def drawing_latency(self) -> int:
        """Cycles from the last logit's transfer to token 0 of no logits: n and t come on top.

        The logit's scaling, two walks that end with their last weight, a product bit by bit.
        """
        return self.scale.latency + 2 * (1 + self.weight_latency) + RANDOM_BITS

    def factor_latency(self, unit: FloatUnitConfig) -> int:
        """Cycles from the scale's transfer to the first logit's, of a small-float unit at rest."""
        return unit.latency["mul"] + 2
