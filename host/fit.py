# SPDX-License-Identifier: Apache-2.0
"""What a model takes of an accelerator, before anything is built: memory, cycles, what binds."""

from typing import Any, NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.weights import DecoderWeights
from host.compile.compiler import compile_model
from host.compile.image import Image
from host.errors import UserError

__all__ = ["Limit", "fit_report", "image_for"]


class Limit(NamedTuple):
    """One thing that a model needs some of."""

    name: str
    needed: int
    there: int
    """0: no limit."""
    knob: str
    """Key of the configuration that changes it."""

    @property
    def share(self) -> float:
        """Part of it that is taken."""
        return self.needed / self.there if self.there else 0.0


def image_for(weights: DecoderWeights, config: AcceleratorConfig) -> Image:
    """Compile a model for an accelerator.

    Raises
    ------
    UserError
        It is no whole accelerator, or the model does not fit it; the message names the knob.
    """
    if not config.is_whole:
        raise UserError(f"{config.name} is no whole accelerator: it lacks units or system")
    image, _ = compile_model(weights, config.decoder, config_hash(config))
    return image


def _limits(weights: DecoderWeights, config: AcceleratorConfig, beats: int) -> list[Limit]:
    shape, system, units = weights.shape, config.system, config.units
    if system is None or units is None:
        raise UserError(f"{config.name} is no whole accelerator")
    cache = config.attention.cache.memory_bits
    on_chip = system.depth * config.decoder.port.beat_bits if system.memory == "block" else 0
    return [
        Limit("image, beats", beats, system.depth, "system.depth"),
        Limit("memory, bits", cache + on_chip, config.target.memory_bits,
              "system.depth, window, target"),
        Limit("hidden", shape.hidden, units.max_hidden, "units.max_hidden"),
        Limit("ffn", shape.ffn, units.max_ffn, "units.max_ffn"),
        Limit("vocabulary", shape.vocab, system.max_vocab, "system.max_vocab"),
        Limit("KV heads of all layers", shape.layers * shape.kv_heads,
              system.slots * system.streams, "system.streams"),
        Limit("heads", shape.heads, system.heads, "system.heads"),
        Limit("head_dim", shape.head_dim, system.head_lanes * system.head_words,
              "system.head_words"),
    ]


def fit_report(weights: DecoderWeights, config: AcceleratorConfig) -> dict[str, Any]:
    """Memory by part, every limit with what is taken of it, and the bounds of a token.

    A token's weight bound is the beats that it has to read: one a cycle.  The share of Wo, up rows
    and Wdown that sparsity leaves depends on the text; here all of Wo's kept half, and half of the
    active rows, stand for it.
    """
    image = image_for(weights, config)
    beats = len(image.beats)
    limits = _limits(weights, config, beats)
    shape, width = weights.shape, config.decoder.width
    kept, of = weights.numerics.topk_keep

    def products(part: str) -> int:
        rows, columns = shape.projections[part]
        return rows * columns

    dense = sum(products(part) for part in ("wq", "wk", "wv", "gate"))
    sparse = products("wo") * kept // of + (products("up") + products("down")) // 2
    head = 3 * shape.vocab * shape.hidden
    weight_cycles = -(-(shape.layers * (dense + sparse) + head) // width)
    most = max((limit for limit in limits if limit.there), key=lambda limit: limit.share)
    return {
        "preset": config.name, "target": config.target.name, "beats": beats,
        "beat_bits": config.decoder.port.beat_bits, "image_bytes": len(image.content),
        "instructions": image.header["instructions"], "sequences": image.header["slots"],
        "window": image.header["window"],
        "kv_bits": config.attention.cache.memory_bits,
        "limits": [{**limit._asdict(), "share": round(limit.share, 4),
                    "fits": not limit.there or limit.needed <= limit.there}
                   for limit in limits],
        "binds": most.name, "knob": most.knob,
        "weight_cycles": weight_cycles, "clock_mhz": config.clock_mhz,
        "tokens_per_second_at_bound": round(config.clock_mhz * 1e6 / weight_cycles, 1),
        "fits": all(not limit.there or limit.needed <= limit.there for limit in limits),
    }
