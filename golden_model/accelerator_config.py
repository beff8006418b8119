# SPDX-License-Identifier: Apache-2.0
"""The configuration of a whole accelerator, and of the device that it is for.

Configurations that are supported by name are in :mod:`golden_model.presets`.
"""

import dataclasses
from dataclasses import dataclass, field

from golden_model.attention_config import AttentionConfig
from golden_model.bus_config import ControlConfig, RegisterFileConfig
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import (
    ArrayConfig,
    Numerics,
    _at_least,
    _one_of,
    _require,
    config_hash,
)
from golden_model.decoder_config import DecoderConfig
from golden_model.ffn_config import GatedFfnConfig
from golden_model.image_config import BlockMemoryConfig
from golden_model.kv_config import KvCacheConfig
from golden_model.quant_config import NormQuantiserConfig, SmallFloatUnitConfig
from golden_model.sparse_config import MaskedLinearConfig
from golden_model.system_config import (
    AxiPortConfig,
    ImageCheckConfig,
    ImageLoaderConfig,
    SystemConfig,
    TokenLoopConfig,
)
from golden_model.vector_config import RopeConfig

__all__ = ["AcceleratorConfig", "Target", "UnitsConfig"]

_LANES = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a device holds; limits that a configuration is checked against before it is built."""

    name: str
    family: str
    """yosys flow: ``xc7``, ``ecp5``, ``ice40`` or ``generic`` (no limits)."""
    luts: int
    """LUT6 on xc7 and UltraScale+, LUT4 elsewhere; 0: no limit."""
    memory_bits: int
    """Block RAM (iCE40: EBR and SPRAM), in bits; 0: no limit."""

    def __post_init__(self) -> None:
        _one_of(self, family=("xc7", "ecp5", "ice40", "generic"))
        _at_least(self, luts=0, memory_bits=0)


@dataclass(frozen=True, kw_only=True)
class UnitsConfig:
    """Geometry of the vector units and the sparse path, which stand beside the array."""

    lanes: int = 4
    """Elements a cycle of quantisers, top-K and residual additions."""
    up_width: int = 64
    """Elements of an up row that are multiplied in a cycle."""
    down_width: int = 64
    """Outputs that one channel of Wo or Wdown adds to in a cycle."""
    max_hidden: int = 1024
    """Longest vector of the residual stream and of attention's output, in elements."""
    max_ffn: int = 4096
    """Longest vector between Wup and Wdown."""
    form: str = "booth"
    """Multipliers: ``booth``, rows of adders in LUTs, or ``dsp``, left to the synthesiser."""

    def __post_init__(self) -> None:
        _one_of(self, lanes=_LANES, form=("booth", "dsp"))
        _at_least(self, up_width=1, down_width=1, max_hidden=1, max_ffn=1)


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """One accelerator: geometry, target and the numerics it is built for."""

    name: str
    description: str
    target: Target
    clock_mhz: float
    array: ArrayConfig = field(default_factory=ArrayConfig)
    units: UnitsConfig | None = None
    """Vector units and sparse path; without them the accelerator is the array alone."""
    system: SystemConfig | None = None
    """Buses, memory, KV cache; without them there is no whole decoder."""
    numerics: Numerics = field(default_factory=Numerics)
    window: int = 128
    """Tokens that the KV cache holds, the BOS token included."""

    def __post_init__(self) -> None:
        _at_least(self, window=2)
        _require(0 < self.clock_mhz <= 2000,
                 f"clock_mhz must lie in (0, 2000], not {self.clock_mhz}")
        if self.units is not None:
            self._check_units(self.units)
        if self.numerics.act_format == "fp4":
            _require(self.array.digit_bits >= 5,
                     f"array.digit_bits must be at least 5 for FP4, not {self.array.digit_bits}")
        if self.is_whole:
            try:
                _ = self.decoder, self.control, self.image_check, self.axi_port
            except ValueError as error:
                raise ValueError(f"system cannot be built: {error}; or leave it out by system = "
                                 "false") from error

    @property
    def is_whole(self) -> bool:
        """Whether it decodes text: units, and a system around them."""
        return self.units is not None and self.system is not None

    def _check_units(self, units: UnitsConfig) -> None:
        """Refuse units that do not go with the array."""
        array, hint = self.array, "; or leave the units out by units = false"
        _require(array.rows in _LANES, f"array.rows must be one of {', '.join(map(str, _LANES))} "
                 f"beside units, not {array.rows}{hint}")
        _require(array.batch == 1 or self.system is not None, "array.batch must be 1 beside units "
                 f"without a system, which take one token at a time, not {array.batch}{hint}")
        for name, width in (("array.lanes", array.lanes), ("units.up_width", units.up_width)):
            _require(width % units.lanes == 0, f"{name} must be a multiple of units.lanes "
                     f"({units.lanes}), not {width}{hint}")
        for name, value, limit, most in (
                ("units.max_ffn", units.max_ffn, "array.max_m", array.max_m),
                ("units.max_hidden", units.max_hidden, "array.max_k", array.max_k)):
            _require(value <= most, f"{name} must be at most {limit} ({most}), not {value}{hint}")
        try:
            _ = self.gated_ffn, self.masked_linear, self.quantiser
        except ValueError as error:
            raise ValueError(f"units cannot be built: {error}") from error

    @property
    def _units(self) -> UnitsConfig:
        if self.units is None:
            raise ValueError(f"units are not part of {self.name}, which is an array alone")
        return self.units

    @property
    def gated_ffn(self) -> GatedFfnConfig:
        """Configuration of the gated feed-forward block, which by itself takes one token.

        Raises
        ------
        ValueError
            There are no `units`; so do the properties below.
        """
        units = self._units
        return GatedFfnConfig(
            array=dataclasses.replace(self.array, max_k=units.max_hidden, batch=1),
            lanes=units.lanes, max_ffn=units.max_ffn, up_width=units.up_width,
            down_width=units.down_width, form=units.form,
            up_bits=5 if self.numerics.act_format == "fp4" else 4)

    @property
    def masked_linear(self) -> MaskedLinearConfig:
        """Configuration of Wo: norm, INT8, top-K, sparse product."""
        units = self._units
        return MaskedLinearConfig(
            lanes=units.lanes, max_n=units.max_hidden, max_m=units.max_hidden,
            width=units.down_width, packing=self.array.packing,
            block_size=self.numerics.topk_block, form=units.form)

    @property
    def quantiser(self) -> NormQuantiserConfig:
        """Configuration of what quantises the residual stream, and adds to it."""
        units = self._units
        return NormQuantiserConfig(lanes=units.lanes, max_n=max(units.max_hidden, units.max_ffn),
                                   residual=True, form=units.form)

    @property
    def small_float_unit(self) -> SmallFloatUnitConfig:
        """Configuration of the scalar unit."""
        return SmallFloatUnitConfig()

    @property
    def rope(self) -> RopeConfig:
        """Configuration of the rotary embedding."""
        return RopeConfig(form=self._units.form)

    @property
    def _system(self) -> SystemConfig:
        if self.system is None:
            raise ValueError(f"system is not part of {self.name}, which is no whole decoder")
        return self.system

    @property
    def attention(self) -> CachedAttentionConfig:
        """Configuration of attention and of the KV cache.

        Raises
        ------
        ValueError
            There is no `system`; so do the properties below.
        """
        system, units, numerics = self._system, self._units, self.numerics
        finer = max(0, numerics.bos_bits - numerics.kv_bits - 1)
        most = system.slots * system.streams
        attention = AttentionConfig(
            lanes=system.head_lanes, queries=system.queries, beat=units.lanes,
            max_words=system.head_words, max_rows=self.window, max_heads=system.heads,
            slots=system.slots, streams=system.streams, query_bits=min(numerics.q_bits, 12),
            weight_bits=min(numerics.p_bits + finer, 16), code_bits=numerics.kv_bits,
            bos_bits=numerics.bos_bits, kv_code=numerics.kv_code, abreast=system.abreast,
            digits=system.digits, rows_per_stage=system.rows_per_stage, form=units.form)
        grouped = system.grouped
        return CachedAttentionConfig(attention=attention, grouped=grouped, cache=KvCacheConfig(
            lanes=system.head_lanes, rows=most * (self.window - 1), sinks=most,
            row_words=system.head_words, window=self.window, slots=system.slots,
            kv_bits=numerics.kv_bits, bos_bits=numerics.bos_bits, secded=system.secded,
            batch=self.array.batch))

    @property
    def decoder(self) -> DecoderConfig:
        """Configuration of the decoder core."""
        system, units = self._system, self._units
        return DecoderConfig(
            array=self.array, attention=self.attention, lanes=units.lanes,
            max_hidden=units.max_hidden, max_ffn=units.max_ffn, max_vocab=system.max_vocab,
            up_bits=5 if self.numerics.act_format == "fp4" else 4,
            address_bits=system.address_bits, form=units.form)

    @property
    def registers(self) -> RegisterFileConfig:
        """Constants of the register file."""
        system, array = self.system or SystemConfig(), self.array
        axi = system.axi if system.memory == "axi" else None
        return RegisterFileConfig(
            config_hash=config_hash(self), rows=array.rows, lanes=array.lanes,
            digit_bits=array.digit_bits, window=self.window, slots=system.slots,
            memory_data_bits=axi.data_bits if axi else 0,
            memory_outstanding=axi.outstanding if axi else 0,
            memory_address_bits=axi.address_bits if axi else 0,
            prompt_depth=system.prompt_depth, generated_depth=system.generated_depth)

    @property
    def control(self) -> ControlConfig:
        """Configuration of the control port."""
        return ControlConfig(bus=self._system.bus, registers=self.registers)

    @property
    def token_loop(self) -> TokenLoopConfig:
        """Configuration of what feeds the decoder with tokens."""
        return TokenLoopConfig(cache=self.attention.cache)

    @property
    def image_check(self) -> ImageCheckConfig:
        """Configuration of what checks an image."""
        return ImageCheckConfig(port=self.decoder.port, config_hash=config_hash(self),
                                depth=self._system.depth)

    @property
    def block_memory(self) -> BlockMemoryConfig:
        """Configuration of an image's memory on the chip."""
        return BlockMemoryConfig(port=self.decoder.port, depth=self._system.depth)

    @property
    def image_loader(self) -> ImageLoaderConfig:
        """Configuration of what the host writes that memory with."""
        return ImageLoaderConfig(memory=self.block_memory)

    @property
    def axi_port(self) -> AxiPortConfig:
        """Configuration of the way to an image behind AXI4."""
        return AxiPortConfig(port=self.decoder.port, axi=self._system.axi)
