# SPDX-License-Identifier: Apache-2.0
"""What the gated feed-forward block and Wo take on a trained model's own activations.

``python -m host.ffn_table --preset ulx3s --record docs/results/ffn/ulx3s.json`` runs the exact
decoder on held-out text and the cycle model, which the RTL equals in every transfer, on each layer
of each token.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from golden_model.accelerator_config import AcceleratorConfig, UnitsConfig
from golden_model.config import ArrayConfig, ModelShape
from golden_model.ffn.captured import CapturedBlock, captured_blocks
from golden_model.ffn.ffn_cycles import FfnCycles
from golden_model.ffn.gated_ffn import gated_ffn
from golden_model.ffn_config import GatedFfnConfig
from golden_model.presets import preset
from golden_model.quant_config import SmallFloatUnitConfig
from host.cli.output import record
from host.demo import CONTEXT, HELD_OUT, MODEL, load_tokens, read_model
from host.errors import CheckFailedError

__all__ = ["MEASURED", "PAPER_SHARES", "Widths", "block_config", "document", "width_rows"]

AREAS = Path(__file__).parents[1] / "docs" / "results" / "area"

PAPER_SHARES: Mapping[str, float] = {"wo": 0.50, "up": 0.286, "down": 0.158}
"""Active shares of the 7B model, table 2 of arXiv:2411.04965."""


class Widths(NamedTuple):
    """Trits a cycle of the two sparse engines."""

    up: int
    """Elements of an up row: width of the row gather."""
    down: int
    """Outputs of a column of Wo and Wdown: width of the sparse product."""


MEASURED = ("axi128", "tiny", "ulx3s")
"""Presets with units."""

TRIED = (8, 16, 20, 32, 40, 64, 80, 128)
"""Widths that the choice is made from."""

LATENCY = 4
"""Cycles from a request to its first beat."""


def units_of(accelerator: AcceleratorConfig) -> UnitsConfig:
    """Return the preset's units; `ValueError` if it has none."""
    if accelerator.units is None:
        raise ValueError(f"{accelerator.name} has no units")
    return accelerator.units


def block_config(accelerator: AcceleratorConfig, shape: ModelShape,
                 widths: Widths) -> GatedFfnConfig:
    """Return a preset's block, as large as a model needs, with engines of other widths."""
    array, units = accelerator.array, units_of(accelerator)
    sized = dataclasses.replace(array, max_k=max(array.max_k, shape.hidden),
                                max_m=max(array.max_m, shape.ffn))
    return GatedFfnConfig(array=sized, lanes=units.lanes, max_ffn=shape.ffn, up_width=widths.up,
                          down_width=widths.down, form=units.form)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _projections(array: ArrayConfig, shape: ModelShape, widths: Widths,
                 blocks: Sequence[CapturedBlock]) -> Iterator[dict[str, Any]]:
    """Weights and cycles of each projection, the mean of a block, beside all of its weights."""
    active: dict[str, list[int]] = {
        "wo": [int(np.count_nonzero(block.wo)) for block in blocks],
        "gate": [shape.ffn] * len(blocks),
        "up": [int(np.count_nonzero(block.ffn.gate > 0)) for block in blocks],
        "down": [int(np.count_nonzero(block.down.codes)) for block in blocks]}
    for name, counts in active.items():
        m, k = shape.projections[name]
        lines, size = (m, k) if name in ("gate", "up") else (k, m)
        if name == "gate":
            dense = _ceil_div(m, array.rows) * _ceil_div(k, array.lanes)
            cycles = float(dense)
        else:
            beats = _ceil_div(size, widths.up if name == "up" else widths.down)
            dense, cycles = lines * beats, float(np.mean(counts)) * beats
        yield {"projection": name, "m": m, "k": k, "dense_weights": m * k,
               "fetched_weights": float(np.mean(counts)) * size,
               "share": float(np.mean(counts)) / lines, "least_share": min(counts) / lines,
               "most_share": max(counts) / lines, "paper_share": PAPER_SHARES.get(name),
               "dense_cycles": dense, "cycles": cycles}


def _block(config: GatedFfnConfig, blocks: Sequence[CapturedBlock]) -> dict[str, Any]:
    """Cycles of whole blocks, each from its first activations to its sums and their scale.

    Gate, up and down weights come from memories of their own.

    Raises
    ------
    CheckFailedError
        The block computes something else than the decoder did.
    """
    lengths, phases = [], []
    for block in blocks:
        result = gated_ffn(config, block.ffn)
        if (result.sums.ravel()[:block.down.sums.size].tolist() != block.down.sums.tolist()
                or result.scale != block.down.out_scale):
            raise CheckFailedError(f"layer {block.layer} of token {block.token} differs from the "
                                   "decoder")
        cycles = FfnCycles(config, SmallFloatUnitConfig(), LATENCY).run(block.ffn, result)
        lengths.append(cycles.command + 1)
        phases.append(cycles.phases())
    return {"cycles": float(np.mean(lengths)), "least": min(lengths), "most": max(lengths),
            "phases": {name: float(np.mean([phase[name] for phase in phases]))
                       for name in phases[0]}}


def _luts() -> tuple[float, float, float]:
    """LUT6 a trit of the array, of the row gather and of the sparse product, as on record."""
    array = json.loads((AREAS / "array-xc7-2x64.json").read_text(encoding="utf-8"))
    units = {row["design"]: row for row in json.loads(
        (AREAS / "units-xc7.json").read_text(encoding="utf-8"))["units"]}
    up, down = (units[name]["lut"] / units[name]["macs_per_cycle"]
                for name in ("row_gather", "sparse_product"))
    return array["full"]["lut_per_mac"], up, down


def width_rows(array: ArrayConfig, shape: ModelShape, shares: Mapping[str, float],
               tried: Sequence[Widths]) -> Iterator[dict[str, Any]]:
    """Cycles in which a layer's weights are multiplied, and LUTs, for engines of some widths.

    Before them (widths of 0) all products on the array, INT8 inputs in two passes.  Nothing is
    counted as hidden behind anything else: that is what weights from one port would take.
    """
    per_array, per_up, per_down = _luts()

    def tiles(part: str) -> int:
        m, k = shape.projections[part]
        return _ceil_div(m, array.rows) * _ceil_div(k, array.lanes)

    dense = sum(map(tiles, ("wq", "wk", "wv", "gate")))
    area = per_array * array.macs_per_cycle
    yield {"up_width": 0, "down_width": 0, "dense_cycles": dense, "up_cycles": tiles("up"),
           "sparse_cycles": 2 * (tiles("wo") + tiles("down")),
           "cycles": dense + tiles("up") + 2 * (tiles("wo") + tiles("down")), "luts": round(area)}
    for widths in tried:
        up = round(shares["up"] * shape.ffn) * _ceil_div(shape.hidden, widths.up)
        sparse = ((round(shares["wo"] * shape.q_dim) + round(shares["down"] * shape.ffn))
                  * _ceil_div(shape.hidden, widths.down))
        yield {"up_width": widths.up, "down_width": widths.down, "dense_cycles": dense,
               "up_cycles": up, "sparse_cycles": sparse,
               "cycles": dense + up + sparse,
               "luts": round(area + per_up * widths.up + per_down * widths.down)}


def document(accelerator: AcceleratorConfig, tokens: int,
             tried: Sequence[int] = TRIED) -> dict[str, Any]:
    """Compute the figures of one preset: projections, whole blocks, and the choice of widths.

    Whole blocks of the demo model are run for each of the widths `tried`.
    """
    weights = read_model(MODEL)
    units = units_of(accelerator)
    shape, widths = weights.shape, Widths(units.up_width, units.down_width)
    blocks = captured_blocks(weights, load_tokens(HELD_OUT, CONTEXT + tokens), tokens)
    config = block_config(accelerator, shape, widths)
    projections = list(_projections(config.array, shape, widths, blocks))
    shares = {row["projection"]: row["share"] for row in projections}
    # BitNet b1.58 2B4T: what axi128 is for.  Its shares are the paper's, of 7B.
    large = ModelShape(vocab=128_256, hidden=2560, ffn=6912, layers=30, heads=20, kv_heads=5,
                       head_dim=128, context=4096)
    choices = sorted({*(Widths(width, width) for width in tried if width % units.lanes == 0),
                      widths})
    rows = [{"model": "demo", **row} for row in width_rows(config.array, shape, shares, choices)]
    for row, choice in zip(rows[1:], choices, strict=True):
        row["block_cycles"] = _block(block_config(accelerator, shape, choice), blocks)["cycles"]
    if accelerator.name == "axi128":
        rows += [{"model": "2B4T", **row}
                 for row in width_rows(config.array, large, PAPER_SHARES, choices)]
    return {"name": accelerator.name, "rows": config.array.rows, "lanes": config.array.lanes,
            "vector_lanes": units.lanes, "up_width": widths.up, "down_width": widths.down,
            "tokens": tokens,
            "context": CONTEXT, "blocks": len(blocks), "projections": projections,
            "ffn": _block(config, blocks), "widths": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print, or record, the figures of a preset."""
    parser = argparse.ArgumentParser(prog="python -m host.ffn_table", description=__doc__)
    parser.add_argument("--preset", choices=MEASURED, default="ulx3s")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--record", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    result = document(preset(options.preset), options.tokens)
    if options.record is None:
        print(json.dumps(result, indent=2))
        return
    record(options.record, f"python -m host.ffn_table --preset {options.preset} --tokens "
                           f"{options.tokens}", result)


if __name__ == "__main__":
    main()
