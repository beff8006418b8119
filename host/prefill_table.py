# SPDX-License-Identifier: Apache-2.0
"""What several prompt tokens that share each weight fetched are worth: ``docs/decisions/0007``.

``python -m host.prefill_table --record docs/results/prefill.json`` needs yosys, for the areas, and
simulates what :mod:`host.prefill_runs` measures.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.config import MAX_BATCH, ArrayConfig, ModelShape
from golden_model.mac.ternary_array import array_cycles
from golden_model.presets import preset
from host.cli.output import record
from host.ffn_table import PAPER_SHARES
from host.prefill_runs import decoder
from host.token_report import SHAPES

__all__ = ["RATES", "beats_per_token", "cycles_per_token", "products", "worth"]

RATES: Mapping[str, float] = {"1": 1.0, "3/4": 0.75, "1/2": 0.5, "1/4": 0.25}
"""Beats of weights a cycle that a port delivers."""

AREA = ArrayConfig(rows=2, lanes=16, max_k=512, max_m=1024)
"""Array whose area is measured for each batch."""


def products(shape: ModelShape, array: ArrayConfig) -> Iterator[dict[str, Any]]:
    """Beats and cycles of a layer's dense products, for one token and for the most."""
    dense = shape.projections
    qkv = sum(dense[name][0] for name in ("wq", "wk", "wv"))
    config = dataclasses.replace(array, batch=MAX_BATCH)
    for name, (m, k) in (("QKV", (qkv, dense["wq"][1])), ("gate", dense["gate"])):
        yield {"product": name, "m": m, "k": k, "beats": -(-m // array.rows) * -(-k // array.lanes),
               "cycles": {str(tokens): array_cycles(config, m, k, tokens=tokens)
                          for tokens in (1, MAX_BATCH)}}


def beats_per_token(shape: ModelShape, batch: int, *, apart: bool = False) -> float:
    """Beats of a layer for each of `batch` tokens, relative to those of one token by itself.

    Tokens' channels are independent, with the paper's shares; or `apart`, no two tokens share one.
    """
    sizes = {name: m * k for name, (m, k) in shape.projections.items()}
    dense = sum(sizes[name] for name in ("wq", "wk", "wv", "gate"))

    def union(share: float, tokens: int) -> float:
        return min(1.0, tokens * share) if apart else 1 - (1 - share) ** tokens

    def beats(tokens: int) -> float:
        return (dense + sum(sizes[name] * union(share, tokens)
                            for name, share in PAPER_SHARES.items())) / tokens
    return beats(batch) / beats(1)


def cycles_per_token(beats: float, rate: float) -> float:
    """Cycles of a token's products relative to those of one token: of compute and fetch the more.

    `rate` beats come in a cycle, and each is multiplied in one.
    """
    return max(1.0, beats / rate) / max(1.0, 1 / rate)


def worth(shape: ModelShape) -> Iterator[dict[str, Any]]:
    """Beats and cycles per token, relative to one token, of each batch."""
    for batch in range(2, MAX_BATCH + 1):
        beats = beats_per_token(shape, batch)
        yield {"batch": batch, "beats": round(beats, 4),
               "beats_apart": round(beats_per_token(shape, batch, apart=True), 4),
               "cycles": {name: round(cycles_per_token(beats, rate), 4)
                          for name, rate in RATES.items()}}


def _areas() -> Iterator[dict[str, Any]]:
    from host.synth import measure

    for batch in (1, 2, MAX_BATCH):
        full = measure("array", dataclasses.replace(AREA, batch=batch), "ecp5")["full"]
        yield {"batch": batch, "lut": full["lut"], "registers": full["registers"]}


def document() -> dict[str, Any]:
    """Compute everything but the areas and what the decoder was measured at."""
    shape, name, _ = SHAPES["2B4T"]
    return {"preset": name, "products": [*products(shape, preset(name).array)],
            "shapes": {model: [*worth(SHAPES[model][0])] for model in ("2B4T", "demo")}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, or record them with the areas."""
    parser = argparse.ArgumentParser(prog="python -m host.prefill_table", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.record is None:
        print(json.dumps(document(), indent=2))
        return
    record(options.record, "python -m host.prefill_table --record docs/results/prefill.json", {
        **document(), "area": {"target": "ecp5", "rows": AREA.rows, "lanes": AREA.lanes,
                               "arrays": [*_areas()]}, "decoder": decoder()})


if __name__ == "__main__":
    main()
