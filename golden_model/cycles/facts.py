# SPDX-License-Identifier: Apache-2.0
"""What a token's cycles depend on besides the program: where codes and gates are zero."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.decoder import Capture
from golden_model.decoder_config import DecoderConfig

__all__ = ["LayerFacts", "TokenFacts", "facts_of"]


class LayerFacts(NamedTuple):
    """One layer's."""

    output: tuple[int, ...]
    """Codes of each beat at Wo that are kept and not zero."""
    gates: tuple[tuple[int, ...], ...]
    """Lanes of each beat of gates that are above zero."""
    down: tuple[int, ...]
    """Codes of each beat at Wdown that are not zero."""


class TokenFacts(NamedTuple):
    """All of a token's."""

    layers: tuple[LayerFacts, ...]
    rows: int
    """Rows of the cache that it sees, its own included."""
    drawn: int | None = None
    """Token that is drawn; None: it is the likeliest, or nobody wants it."""


def facts_of(config: DecoderConfig, capture: Capture, rows: int, *, token: int = -1,
             drawn: int | None = None) -> TokenFacts:
    """Facts of one of the tokens [T] whose products were captured, the last one unless told."""
    lanes, height = config.lanes, config.array.rows
    layers = []
    for layer in range(sum(name.endswith(".wo") for name in capture)):
        wo, gate, down = (capture[f"layers.{layer}.{part}"] for part in ("wo", "gate", "down"))
        layers.append(LayerFacts(_counts(wo.codes[token], lanes), _lanes(gate.sums[token], height),
                                 _counts(down.codes[token], lanes)))
    return TokenFacts(tuple(layers), rows, drawn)


def _counts(codes: Codes, lanes: int) -> tuple[int, ...]:
    return tuple(np.add.reduceat(codes != 0, range(0, codes.size, lanes)).tolist())


def _lanes(gates: Ints, rows: int) -> tuple[tuple[int, ...], ...]:
    active: list[list[int]] = [[] for _ in range(-(-gates.size // rows))]
    for index in np.flatnonzero(gates > 0).tolist():
        active[index // rows].append(index % rows)
    return tuple(map(tuple, active))
