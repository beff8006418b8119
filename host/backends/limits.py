# SPDX-License-Identifier: Apache-2.0
"""What a whole accelerator holds, known from its configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.weights import DecoderWeights
from host.backends.base import Limits
from host.errors import UserError
from host.fit import image_for

__all__ = ["HardwareLimits", "limits_of"]


class _Limit(NamedTuple):
    name: str
    value: int
    most: int
    knob: str
    """Key of the configuration that changes it."""


@dataclass(frozen=True, kw_only=True)
class HardwareLimits(Limits):
    """Limits of a configuration: each sentence names the model's value, the limit and the knob."""

    config: AcceleratorConfig

    def _limits(self, weights: DecoderWeights) -> Iterator[_Limit]:
        shape, units, system = weights.shape, self.config.units, self.config.system
        if units is None or system is None:
            return
        yield _Limit("hidden", shape.hidden, units.max_hidden, "units.max_hidden")
        yield _Limit("ffn", shape.ffn, units.max_ffn, "units.max_ffn")
        yield _Limit("vocabulary", shape.vocab, system.max_vocab, "system.max_vocab")
        yield _Limit("heads", shape.heads, system.heads, "system.heads")
        yield _Limit("head_dim", shape.head_dim, system.head_lanes * system.head_words,
                     "system.head_words")
        yield _Limit("KV heads of all layers", shape.layers * shape.kv_heads,
                     system.slots * system.streams, "system.streams")
        # Ahead of compiling what cannot fit: the trits alone.
        trits = shape.ternary_parameters + 3 * shape.vocab * shape.hidden
        beats = -(-trits // self.config.decoder.width)
        yield _Limit("image, in beats,", beats, system.depth, "system.depth")

    def misfit(self, weights: DecoderWeights, window: int, tokens: int) -> str | None:
        """Say why a model cannot run for so many tokens at that window, or nothing if it can."""
        name = self.config.name
        for limit in self._limits(weights):
            if limit.value > limit.most:
                return (f"the model's {limit.name} is {limit.value}, {name} takes at most "
                        f"{limit.most} ({limit.knob})")
        if (reason := super().misfit(weights, window, tokens)) is not None:
            knob = "window" if reason.startswith("its window") else "numerics"
            return f"{reason} ({knob})"
        if not self.config.is_whole:
            return None
        try:
            beats = len(image_for(weights, self.config).beats)
        except (UserError, ValueError) as error:
            return str(error)
        system = self.config.system
        if system is not None and beats > system.depth:
            return (f"the model's image is {beats} beats, {name} holds {system.depth} "
                    "(system.depth)")
        return None


def limits_of(config: AcceleratorConfig) -> HardwareLimits:
    """Return what an accelerator of that configuration holds."""
    return HardwareLimits(config=config, window=config.window, columns=config.array.max_k,
                          rows=config.array.max_m, numerics=config.numerics)
