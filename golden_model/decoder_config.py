# SPDX-License-Identifier: Apache-2.0
"""Parameters of the decoder core (standard library only)."""

import dataclasses
from dataclasses import dataclass

from golden_model.arbiter_config import RequestArbiterConfig
from golden_model.batch_config import TokenStoreConfig
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import (
    WORD_BITS,
    ArrayConfig,
    UnpackerConfig,
    _at_least,
    _ceil_div,
    _require,
)
from golden_model.control_config import ScaleProductsConfig, SequencerConfig, TokenRunConfig
from golden_model.ffn_config import CodePackerConfig, GateUpConfig
from golden_model.head_config import PLANES, EmbeddingRowConfig, PlaneSumConfig
from golden_model.image_config import (
    BurstAddressConfig,
    ImageHubConfig,
    ImagePortConfig,
    TritPortConfig,
    VectorReaderConfig,
)
from golden_model.quant_config import NormQuantiserConfig
from golden_model.quick_float_config import OPERATIONS, QuickFloatConfig
from golden_model.sampler_config import SamplerConfig
from golden_model.sparse_config import MaskedLinearConfig
from golden_model.stream_config import ResidualStreamConfig, RotationConfig

__all__ = ["DecoderConfig"]


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Geometry of what runs a token: every engine takes one beat of the image a cycle."""

    array: ArrayConfig
    """The array, and the packing of the image's beats."""
    attention: CachedAttentionConfig
    lanes: int = 4
    """Elements a cycle of the vector units."""
    max_hidden: int = 1024
    """Longest vector of the residual stream."""
    max_ffn: int = 4096
    """Longest vector between Wup and Wdown."""
    max_vocab: int = 4096
    up_bits: int = 4
    """Bits of an activation at gate, up rows and projections: 4 for INT4, 5 for FP4."""
    address_bits: int = 24
    """Bits of an address in the image; its unit is a beat."""
    count_bits: int = 24
    """Bits of the beats of one burst."""
    in_flight: int = 8
    """Rows, and columns, that may be under way from the image."""
    pending: int = 512
    """Up sums that may wait for the last gate."""
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, max_hidden=1, max_ffn=1, max_vocab=2)
        rows, beat = self.array.rows, self.attention.beat
        _require(rows % 2 == 0 and self.lanes % rows == 0,
                 f"lanes must be a multiple of array.rows, which are even ({rows}), not "
                 f"{self.lanes}")
        _require(beat == self.lanes, f"attention.beat must be lanes ({self.lanes}), not {beat}")
        _require(self.attention.cache.batch == self.array.batch, "attention.cache.batch must be "
                 f"array.batch ({self.array.batch}), not {self.attention.cache.batch}")
        _require(self.array.max_digits == 2,
                 f"array.digit_bits must be at least 5 for INT8, not {self.array.digit_bits}")
        _require(self.array.lanes % self.lanes == 0,
                 f"array.lanes must be a multiple of lanes ({self.lanes}), not {self.array.lanes}")
        # Their limits are this configuration's too.
        _ = (self.engine, self.gate_up, self.masked_linear, self.residual, self.rotation,
             self.gains, self.rotations, self.embedding_row, self.plane_sum, self.sampler,
             self.hub, self.unit, self.stores)

    @property
    def width(self) -> int:
        """Trits of one beat: products a cycle of every engine."""
        return self.array.macs_per_cycle

    @property
    def port(self) -> ImagePortConfig:
        """Port on the image."""
        return ImagePortConfig(beat_bits=self.array.unpacker.packed_bits,
                               address_bits=self.address_bits, count_bits=self.count_bits)

    @property
    def trit_port(self) -> TritPortConfig:
        """What unpacks the image's beats."""
        return TritPortConfig(port=self.port, unpacker=self.array.unpacker)

    @property
    def hub(self) -> ImageHubConfig:
        """What shares the port: its beats carry the packed bits and their trits."""
        return ImageHubConfig(port=self.trit_port.unpacked, clients=7)

    @property
    def sequencer(self) -> SequencerConfig:
        """What reads the program."""
        return SequencerConfig(port=self.port)

    @property
    def token_run(self) -> TokenRunConfig:
        """What runs it for each token."""
        return TokenRunConfig(sequencer=self.sequencer, cache=self.attention.cache)

    @property
    def engine(self) -> ArrayConfig:
        """The array, which takes trits."""
        blocks = PLANES * _ceil_div(self.max_vocab, self.array.rows)
        return dataclasses.replace(
            self.array, packing="2bit", max_k=self.max_hidden,
            max_m=max(self.array.max_m, self.max_ffn, blocks * self.array.rows))

    @property
    def unpacker(self) -> UnpackerConfig:
        """Of an engine: wires."""
        return self.engine.unpacker

    @property
    def gate_up(self) -> GateUpConfig:
        """Gates, up rows and products."""
        return GateUpConfig(rows=self.array.rows, lanes=self.lanes, max_k=self.max_hidden,
                            max_rows=self.max_ffn, width=self.width, digit_bits=self.up_bits,
                            packing="2bit", in_flight=self.in_flight, pending=self.pending,
                            levels_per_stage=self.array.levels_per_stage, form=self.form)

    @property
    def masked_linear(self) -> MaskedLinearConfig:
        """The one quantiser, top-K, Wo and Wdown."""
        heads = self.attention.joiner.max_n
        return MaskedLinearConfig(lanes=self.lanes, max_n=max(self.max_ffn, self.max_hidden, heads),
                                  max_m=self.max_hidden, width=self.width, packing="2bit",
                                  in_flight=self.in_flight, form=self.form)

    @property
    def quantiser(self) -> NormQuantiserConfig:
        """Of the above."""
        return self.masked_linear.quantiser

    @property
    def residual(self) -> ResidualStreamConfig:
        """The residual stream."""
        return ResidualStreamConfig(lanes=self.lanes, max_n=self.max_hidden, width=self.width,
                                    sum_bits=self.masked_linear.product.sum_bits, form=self.form,
                                    batch=self.array.batch)

    @property
    def array_packer(self) -> CodePackerConfig:
        """What joins codes to tiles."""
        return CodePackerConfig(lanes=self.lanes, width=self.array.lanes, bits=8)

    @property
    def up_packer(self) -> CodePackerConfig:
        """What joins codes to the words of the up rows."""
        return CodePackerConfig(lanes=self.lanes, width=self.width, bits=self.up_bits)

    @property
    def gains(self) -> VectorReaderConfig:
        """Gains of a norm."""
        return VectorReaderConfig(port=self.port, word_bits=self.quantiser.gain_bits * self.lanes,
                                  max_words=_ceil_div(self.masked_linear.max_n, self.lanes))

    @property
    def rotation(self) -> RotationConfig:
        """Rotary embedding of keys and queries."""
        return RotationConfig(rows=self.array.rows, lanes=self.lanes, max_n=self.attention.max_n,
                              max_heads=self.attention.attention.max_heads,
                              ahead=self.attention.ahead, sum_bits=self.gate_up.sum_bits,
                              form=self.form)

    @property
    def rotations(self) -> VectorReaderConfig:
        """Cosines and sines of a position."""
        return VectorReaderConfig(port=self.port, word_bits=self.rotation.table_bits,
                                  max_words=_ceil_div(self.attention.max_n, self.array.rows),
                                  batch=self.array.batch)

    @property
    def stores(self) -> dict[str, TokenStoreConfig]:
        """What is kept of each token of a chunk, none if that is one token.

        ``sum_store`` of the array, ``word_store`` of what attention gave, ``code_store`` for the up
        rows.
        """
        batch, heads = self.array.batch, self.attention.joiner
        if batch == 1:
            return {}
        sums = max(self.max_ffn, 3 * heads.max_n)
        return {
            "sum_store": TokenStoreConfig(
                bits=self.gate_up.sum_bits * self.array.rows, batch=batch, interleaved=True,
                max_words=_ceil_div(sums, self.array.rows)),
            "word_store": TokenStoreConfig(bits=WORD_BITS * self.lanes, max_words=heads.max_beats,
                                      batch=batch),
            "code_store": TokenStoreConfig(bits=self.up_bits * self.width, batch=batch,
                                         max_words=_ceil_div(self.max_hidden, self.width)),
        }

    @property
    def chunk_bits(self) -> int:
        """Bits of memory that a batch takes: `stores`, residual streams and positions past one."""
        if self.array.batch == 1:
            return 0
        residual, turns = self.residual, self.rotations
        return (sum(store.memory_bits for store in self.stores.values())
                + (residual.depth - residual.max_beats) * residual.lanes * WORD_BITS
                + (turns.depth - turns.max_words) * turns.word_bits)

    @property
    def embedding_row(self) -> EmbeddingRowConfig:
        """One row of the embedding."""
        return EmbeddingRowConfig(port=self.port, rows=self.array.rows, width=self.array.lanes,
                                  lanes=self.lanes, max_n=self.max_hidden)

    @property
    def plane_sum(self) -> PlaneSumConfig:
        """Logits."""
        return PlaneSumConfig(rows=self.array.rows, sum_bits=self.array.acc_bits,
                              max_vocab=self.max_vocab)

    @property
    def position_address(self) -> BurstAddressConfig:
        """Where a position's rotations lie."""
        return BurstAddressConfig(port=self.port, max_index=1 << 20)

    @property
    def sampler(self) -> SamplerConfig:
        """What chooses the token that follows."""
        return SamplerConfig(logit_bits=self.plane_sum.logit_bits, max_vocab=self.max_vocab,
                             form=self.form)

    @property
    def up_address(self) -> BurstAddressConfig:
        """Where up rows lie."""
        return BurstAddressConfig(port=self.port, max_index=self.max_ffn)

    @property
    def column_address(self) -> BurstAddressConfig:
        """Where columns of Wo and Wdown lie."""
        return BurstAddressConfig(port=self.port, max_index=self.masked_linear.max_n)

    @property
    def arbiter(self) -> RequestArbiterConfig:
        """Who asks the small-float unit: quantiser, gate scale, products of scales, sampler."""
        return RequestArbiterConfig(clients=4)

    @property
    def products(self) -> ScaleProductsConfig:
        """Products of the codes' scale: at most those of queries, keys and values."""
        return ScaleProductsConfig()

    @property
    def unit(self) -> QuickFloatConfig:
        """The small-float unit, which divides as many digits a cycle as those of attention."""
        return QuickFloatConfig(operations=OPERATIONS, digits=self.attention.attention.digits,
                                int_bits=63, shifts=2, registered=True, form=self.form)
