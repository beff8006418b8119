# SPDX-License-Identifier: Apache-2.0
"""What a model takes of an accelerator, before anything is built: memory, cycles, what binds."""

from typing import Any, NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.cycles.shapes import Bounds, bounds, random_facts, work
from golden_model.cycles.token import DecoderCycles
from golden_model.weights import DecoderWeights
from host.compile.compiler import compile_model
from host.compile.image import Image
from host.errors import UserError

__all__ = ["ACTIVE", "Limit", "fit_report", "image_for"]


ACTIVE = 0.5
"""Share of gates above zero for which a token's cycles are stated."""


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
    held = cache + on_chip + config.decoder.chunk_bits
    return [
        Limit("image, beats", beats, system.depth, "system.depth"),
        Limit("memory, bits", held, config.target.memory_bits,
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


def _token(weights: DecoderWeights, config: AcceleratorConfig, image: Image) -> dict[str, Any]:
    """Cycles of a token, bounds, and both by instruction."""
    numerics, decoder = weights.numerics, config.decoder
    kept, of = numerics.topk_keep
    facts = random_facts(weights.shape, decoder, {"wo": kept / of, "up": ACTIVE, "down": ACTIVE},
                         image.header["window"])
    model = DecoderCycles(decoder, image.program, image.header["head_instructions"])
    steps, least = model.instructions(facts), work(decoder, image.program, facts)
    rows: dict[str, dict[str, Any]] = {}
    for step, bound in zip(steps, least, strict=True):
        row = rows.setdefault(step.name, {"instruction": step.name, "times": 0, "cycles": 0,
                                          **dict.fromkeys(Bounds._fields, 0)})
        row["times"] += 1
        row["cycles"] += step.cycles
        for name in Bounds._fields:
            row[name] += getattr(bound, name)
    whole = bounds(decoder, image.program, facts)
    between, batch, prompt = config.token_loop.gap - 1, config.array.batch, {}
    cycles = model.token(facts) + between
    if batch > 1:   # the loop takes tokens into a chunk, and counts them, one after the other
        chunk = model.chunk([facts] * batch, skip_head=True) + between + 3 * (batch - 1)
        prompt = {"batch": batch, "cycles_per_prompt_token": -(-chunk // batch)}
    return {"cycles_per_token": cycles, **prompt,
            "bounds": whole._asdict(), "bound_by": whole.binds,
            "bound_cycles": max(whole), "over_bound": round(cycles / max(whole), 3),
            "roofline": list(rows.values())}


def fit_report(weights: DecoderWeights, config: AcceleratorConfig) -> dict[str, Any]:
    """Memory by part, every limit with what is taken of it, and the bounds of a token.

    A token's cycles are those of the cycle model, which the RTL equals, its image on the chip and
    its cache's window full.  What sparsity leaves of Wo, up rows and Wdown depends on the text;
    here all that Wo keeps, and `ACTIVE` of the gates, stand for it.
    """
    image = image_for(weights, config)
    beats = len(image.beats)
    limits = _limits(weights, config, beats)
    token = _token(weights, config, image)
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
        **token, "clock_mhz": config.clock_mhz,
        "tokens_per_second": round(config.clock_mhz * 1e6 / token["cycles_per_token"], 1),
        "tokens_per_second_at_bound": round(config.clock_mhz * 1e6 / token["bound_cycles"], 1),
        "fits": all(not limit.there or limit.needed <= limit.there for limit in limits),
    }
