# SPDX-License-Identifier: Apache-2.0
"""Cycles of a whole token by the cycle model: ``python -m host.token_report``.

Writes ``docs/results/token_cycles.json``: of the demo model on ulx3s, and of BitNet 2B4T's shape on
axi128 at the paper's sparsity, each with the least cycles that its parts would take alone.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import ModelShape
from golden_model.cycles.facts import TokenFacts
from golden_model.cycles.shapes import (
    HEAD_INSTRUCTIONS,
    Bounds,
    bounds,
    random_facts,
    shape_program,
    work,
)
from golden_model.cycles.token import DecoderCycles, InstructionCycles
from golden_model.presets import preset
from golden_model.program import Instruction
from host.cli.output import record
from host.ffn_table import PAPER_SHARES

__all__ = ["RESULT", "SHAPES", "by_instruction", "token_row"]

RESULT = Path(__file__).parents[1] / "docs" / "results" / "token_cycles.json"
SHAPES: Mapping[str, tuple[ModelShape, str, Mapping[str, float]]] = {
    # What the demo model's own activations leave on held-out text.
    "demo": (ModelShape(vocab=512, hidden=128, ffn=384, layers=6, heads=4, kv_heads=2, head_dim=32,
                        context=256), "ulx3s", {"wo": 0.5, "up": 0.338, "down": 0.183}),
    "2B4T": (ModelShape(vocab=128_256, hidden=2560, ffn=6912, layers=30, heads=20, kv_heads=5,
                        head_dim=128, context=4096), "axi128", PAPER_SHARES),
}
"""Models by name: shape, preset, shares of what counts."""


def by_instruction(steps: Sequence[InstructionCycles], least: Sequence[Bounds],
                   times: Sequence[int]) -> list[dict[str, Any]]:
    """Cycles and bounds of each kind of instruction, each step as often as `times` says."""
    rows: dict[str, dict[str, Any]] = {}
    for step, bound, often in zip(steps, least, times, strict=True):
        row = rows.setdefault(step.name, {"instruction": step.name, "times": 0, "cycles": 0,
                                          **dict.fromkeys(Bounds._fields, 0)})
        row["times"] += often
        row["cycles"] += often * step.cycles
        for name in Bounds._fields:
            row[name] += often * getattr(bound, name)
    return list(rows.values())


def token_row(config: AcceleratorConfig, shape: ModelShape, shares: Mapping[str, float],
              rows: int | None = None) -> dict[str, Any]:
    """One token, its image on the chip: one layer is worked out and stands for all.

    `rows`: rows of the cache that it sees; the preset's window unless given.
    """
    decoder, numerics, rows = config.decoder, config.numerics, rows or config.window
    facts = random_facts(shape, decoder, shares, rows, layers=1)
    program = shape_program(shape, numerics, decoder, layers=1)
    model = DecoderCycles(decoder, program, HEAD_INSTRUCTIONS)
    steps = model.instructions(facts)
    layer = slice(1, len(steps) - HEAD_INSTRUCTIONS)
    times = [1] * len(steps)
    times[layer] = [shape.layers] * (layer.stop - layer.start)
    extra = shape.layers - 1
    cycles = (model.token(facts) + config.token_loop.gap - 1
              + extra * (steps[layer.stop].first - steps[layer.start].first))
    whole = _bounds(config, shape, facts, program)
    return {"preset": config.name, "clock_mhz": config.clock_mhz, "rows": rows,
            "shares": dict(shares), "cycles_per_token": cycles,
            "ms_per_token": round(cycles / config.clock_mhz / 1e3, 3),
            "tokens_per_second": round(config.clock_mhz * 1e6 / cycles, 2),
            "bounds": whole._asdict(), "bound_by": whole.binds,
            "over_bound": round(cycles / max(whole), 3),
            "over_weights": round(cycles / whole.weights, 3),
            "roofline": by_instruction(steps, work(decoder, program, facts), times)}


def _bounds(config: AcceleratorConfig, shape: ModelShape, facts: TokenFacts,
            program: Sequence[Instruction]) -> Bounds:
    """Bounds of all layers, from those of one."""
    one = bounds(config.decoder, program, facts)
    none = bounds(config.decoder, [each for each in program if each.name not in (
        "attend", "output", "feed_forward")], facts)
    return Bounds(*(some + shape.layers * (a - some) for a, some in zip(one, none, strict=True)))


def main() -> int:
    """Write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    found = {name: token_row(preset(on), shape, shares)
             for name, (shape, on, shares) in SHAPES.items()}
    record(asked.out, "python -m host.token_report", {"tokens": found})
    for name, row in found.items():
        print(f"{name} on {row['preset']}: {row['cycles_per_token']:,} cycles, "
              f"{row['over_bound']:.3f} times the {row['bound_by']} bound")
    return 0


if __name__ == "__main__":
    sys.exit(main())
