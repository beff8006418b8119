# SPDX-License-Identifier: Apache-2.0
"""Cycles of attention's commands on the presets, beside what bounds them.

``python -m host.attention_table > docs/results/attention/cycles.json`` runs the cycle model, which
the RTL equals in every transfer; ``--markdown`` prints the table of ``docs/attention.md``.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.attention.attention import bounds
from golden_model.attention.cached_attention_cycles import command_cycles
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ModelShape
from golden_model.presets import preset

__all__ = ["HEAD_DIMS", "MEASURED", "ROWS", "document", "entry", "markdown"]

SMALLER = {"abreast": 2}
"""What takes fewer LUTs than the preset's attention, and longer."""

MEASURED: Sequence[tuple[str, Mapping[str, Any], int, int]] = (
    ("tiny", {}, 4, 2), ("ulx3s", {}, 4, 2), ("ulx3s", SMALLER, 4, 2), ("axi128", {}, 20, 5))
"""Presets, knobs of their system, heads and KV heads: of the demo, and of 2B4T."""

HEAD_DIMS = (32, 64, 100, 128)

ROWS = (16, 64, 128, 512, 2048)


def _geometry(accelerator: AcceleratorConfig, heads: int, kv_heads: int, head_dim: int,
              rows: int) -> CachedAttentionConfig:
    """Attention of a preset with memories for one such layer."""
    built = accelerator.attention
    made = built.attention
    shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=heads, kv_heads=kv_heads,
                       head_dim=head_dim, context=rows)
    return CachedAttentionConfig.of(
        shape, accelerator.numerics, lanes=made.lanes, queries=made.queries, window=max(2, rows),
        beat=made.beat, abreast=made.abreast, digits=made.digits, grouped=built.grouped,
        rows_per_stage=made.rows_per_stage, form=made.form)


def entry(name: str, knobs: Mapping[str, Any], heads: int, kv_heads: int, head_dim: int,
          rows: int) -> dict[str, Any]:
    """Compute the cycles of one command, its words at hand, and its bounds."""
    accelerator = preset(name)
    if accelerator.system is not None:
        accelerator = dataclasses.replace(
            accelerator, system=dataclasses.replace(accelerator.system, **knobs))
    config = _geometry(accelerator, heads, kv_heads, head_dim, rows)
    took = command_cycles(config, heads=heads, kv_heads=kv_heads, n=head_dim, rows=rows)
    least = bounds(config.attention, heads, kv_heads, rows, head_dim)
    bound = max(least["array"], least["cache"])
    return {"preset": name, "system": dict(knobs), "heads": heads, "kv_heads": kv_heads,
            "head_dim": head_dim, "rows": rows, "cycles": took.out[-1], "bound": bound,
            "ratio": round(took.out[-1] / bound, 3)}


def _entries() -> Iterator[dict[str, Any]]:
    for name, knobs, heads, kv_heads in MEASURED:
        for head_dim in HEAD_DIMS:
            if head_dim % preset(name).attention.beat:
                continue  # no such head on as many lanes
            for rows in ROWS:
                yield entry(name, knobs, heads, kv_heads, head_dim, rows)


def document() -> dict[str, Any]:
    """Compute all figures."""
    return {"command": "python -m host.attention_table > docs/results/attention/cycles.json",
            "commands": list(_entries())}


def markdown(entries: Sequence[Mapping[str, Any]]) -> str:
    """Render ratios as a table, a row for each preset and head_dim."""
    lines = ["| | head_dim | " + " | ".join(f"{rows:,} rows" for rows in ROWS) + " |",
             "|---" * (2 + len(ROWS)) + "|"]
    found = {(each["preset"], *each["system"], each["head_dim"], each["rows"]): each
             for each in entries}
    for each in entries:
        if each["rows"] != ROWS[0]:
            continue
        key = (each["preset"], *each["system"], each["head_dim"])
        cells = [found[*key, rows] for rows in ROWS]
        name = each["preset"] + (", two abreast" if each["system"] else "")
        lines.append(f"| {name} | {each['head_dim']} | " + " | ".join(
            f"{cell['cycles']:,} ({cell['ratio']:.2f})" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the document, or the table."""
    parser = argparse.ArgumentParser(prog="python -m host.attention_table", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="the table instead of JSON")
    found = document()
    if parser.parse_args(arguments).markdown:
        print(markdown(found["commands"]), end="")
    else:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
