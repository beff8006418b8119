# SPDX-License-Identifier: Apache-2.0
"""Parameters of the gated feed-forward product (standard library only)."""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, ArrayConfig, _at_least, _ceil_div, _one_of, _require
from golden_model.sparse_config import CompactorConfig, MaskedLinearConfig, RowGatherConfig
from golden_model.vector_config import Relu2GluConfig

__all__ = ["CodePackerConfig", "GateUpConfig", "GatedFfnConfig", "ProductBufferConfig"]

_LANES = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class CodePackerConfig:
    """Geometry of what joins a quantiser's beats of codes to wider words."""

    lanes: int = 4
    """Codes a beat."""
    width: int = 64
    """Codes a word."""
    bits: int = 4
    """Bits of a code in a word."""

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, width=1, bits=1)
        _require(self.bits <= 8, f"bits must be at most 8, not {self.bits}")
        _require(self.width % self.lanes == 0,
                 f"width must be a multiple of lanes ({self.lanes}), not {self.width}")

    @property
    def beats(self) -> int:
        """Beats of one word."""
        return self.width // self.lanes

    @property
    def latency(self) -> int:
        """Cycles from a word's last beat on ``i`` to the word on ``o``."""
        return 1


@dataclass(frozen=True, kw_only=True)
class ProductBufferConfig:
    """Geometry of the memory that makes single words a vector in beats, to be read twice."""

    lanes: int = 4
    """Words a beat."""
    max_n: int = 16_384
    """Longest vector, in words."""

    def __post_init__(self) -> None:
        _one_of(self, lanes=_LANES)
        _at_least(self, max_n=1)
        _require(self.max_n <= 1 << 20, f"max_n must be at most {1 << 20}, not {self.max_n}")

    @property
    def max_beats(self) -> int:
        """Beats of the longest vector."""
        return _ceil_div(self.max_n, self.lanes)

    @property
    def latency(self) -> int:
        """Cycles from the word or end marker that completes a beat to that beat on ``o``."""
        return 2


@dataclass(frozen=True, kw_only=True)
class GateUpConfig:
    """Geometry of gates, the up rows that they leave, and the products of both."""

    rows: int = 8
    """Gates a beat: rows of the array that computes them."""
    lanes: int = 4
    """Products a beat."""
    max_k: int = 1024
    """Longest activation vector, in elements."""
    max_rows: int = 4096
    """Most gates."""
    width: int = 64
    """Elements of an up row that are multiplied in a cycle."""
    digit_bits: int = 4
    """Bits of an activation: 4 for INT4, 5 for FP4."""
    packing: str = "base3"
    in_flight: int = 8
    """Up rows that may be under way from the weight memory."""
    pending: int = 512
    """Up sums that may wait for the last gate; more of them hold up the up rows."""
    levels_per_stage: int = 2
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _one_of(self, rows=_LANES)
        _at_least(self, pending=2)
        _require(self.pending <= 1 << 16, f"pending must be at most {1 << 16}, not {self.pending}")
        # Their limits are this configuration's too.
        _ = self.gather, self.compactor, self.buffer
        _require(self.sum_bits <= 21, f"max_k must be lower: sums have {self.sum_bits} bits, and "
                 f"products of more than 21 bits do not fit, not {self.max_k}")

    @property
    def gather(self) -> RowGatherConfig:
        """Configuration of what multiplies the up rows."""
        return RowGatherConfig(width=self.width, max_k=self.max_k, max_rows=self.max_rows,
                               digit_bits=self.digit_bits, packing=self.packing,
                               levels_per_stage=self.levels_per_stage, in_flight=self.in_flight)

    @property
    def sum_bits(self) -> int:
        """Signed bits of a gate and of an up sum."""
        return self.gather.sum_bits

    @property
    def compactor(self) -> CompactorConfig:
        """Configuration of what turns masks of gates into rows."""
        return CompactorConfig(lanes=self.rows, max_n=self.max_rows, drop_zeros=False)

    @property
    def peak(self) -> Relu2GluConfig:
        """Configuration of what finds active gates and the shift."""
        return Relu2GluConfig(lanes=self.rows, gate_bits=self.sum_bits, up_bits=self.sum_bits)

    @property
    def glu(self) -> Relu2GluConfig:
        """Configuration of the product, one a cycle."""
        return Relu2GluConfig(gate_bits=self.sum_bits, up_bits=self.sum_bits, form=self.form,
                              rows_per_stage=self.rows_per_stage)

    @property
    def buffer(self) -> ProductBufferConfig:
        """Configuration of the products' memory."""
        return ProductBufferConfig(lanes=self.lanes, max_n=self.max_rows)

    @property
    def max_beats(self) -> int:
        """Beats of the longest vector of gates."""
        return _ceil_div(self.max_rows, self.rows)

    @property
    def masks(self) -> int:
        """Masks that may wait for the compactor: those of a vector, so that gates never do."""
        return self.max_beats + 2

    @property
    def mask_latency(self) -> int:
        """Cycles from a beat of gates to its first row at the gather: peak, queue, compactor."""
        return self.peak.peak_latency + 2 + self.compactor.latency

    @property
    def product_latency(self) -> int:
        """Cycles from an up sum to its product at the buffer: queue, gate, product."""
        return 2 + 1 + self.glu.latency

    @property
    def memory_bits(self) -> int:
        """Bits of gates, masks, waiting sums and products."""
        index = (self.max_rows - 1).bit_length()
        return (self.max_beats * self.rows * (self.sum_bits + 1)
                + self.pending * (index + self.sum_bits + 1)
                + self.buffer.max_beats * self.lanes * WORD_BITS)


@dataclass(frozen=True, kw_only=True)
class GatedFfnConfig:
    """Geometry of a whole gated feed-forward block on units of its own."""

    array: ArrayConfig
    """What computes the gates."""
    lanes: int = 4
    """Words and codes a beat."""
    max_ffn: int = 4096
    up_width: int = 64
    """Elements of an up row a cycle."""
    down_width: int = 32
    """Outputs that one channel of Wdown adds to in a cycle."""
    up_bits: int = 4
    """Bits of an activation at the up rows."""
    in_flight: int = 8
    pending: int = 512
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, max_ffn=1)
        _require(self.array.max_m >= self.max_ffn,
                 f"max_ffn must be at most array.max_m ({self.array.max_m}), not {self.max_ffn}")
        # Their limits are this configuration's too.
        _ = self.gate_up, self.down, self.array_packer, self.up_packer

    @property
    def gate_up(self) -> GateUpConfig:
        """Configuration of gates, up rows and products."""
        return GateUpConfig(rows=self.array.rows, lanes=self.lanes, max_k=self.array.max_k,
                            max_rows=self.max_ffn, width=self.up_width, digit_bits=self.up_bits,
                            packing=self.array.packing, in_flight=self.in_flight,
                            pending=self.pending, form=self.form)

    @property
    def down(self) -> MaskedLinearConfig:
        """Configuration of sub-norm, quantiser and Wdown."""
        return MaskedLinearConfig(lanes=self.lanes, max_n=self.max_ffn, max_m=self.array.max_k,
                                  width=self.down_width, packing=self.array.packing,
                                  in_flight=self.in_flight, form=self.form)

    @property
    def array_packer(self) -> CodePackerConfig:
        """Configuration of what feeds the array."""
        return CodePackerConfig(lanes=self.lanes, width=self.array.lanes,
                                bits=self.array.digit_bits)

    @property
    def up_packer(self) -> CodePackerConfig:
        """Configuration of what feeds the up rows."""
        return CodePackerConfig(lanes=self.lanes, width=self.up_width, bits=self.up_bits)
