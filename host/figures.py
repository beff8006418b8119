# SPDX-License-Identifier: Apache-2.0
"""Tables of measured figures for the documentation, from the JSON under ``docs/results``.

``python -m host.figures`` rewrites ``docs/figures.md``; a test fails if it would change.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["DOCUMENT", "render"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
DOCUMENT = ROOT / "docs" / "figures.md"

_HEAD = """# Measured figures

Each table is rendered from JSON under `docs/results`, which also holds the command, date and
versions that made it. `python -m host.figures` renders this page; a figure is renewed by running
its command with `--record`.
"""

_AREA = """
## Area of the array

After synthesis with yosys, nothing placed or routed. LUTs are LUT6 on `xc7` and LUT4 on `ecp5`,
with distributed RAM at the LUTs it takes, two LUTs for each `CCU2C`, and inverters not counted. The
core is rows of adder trees that share the activations, registers at their stages; the whole array
adds unpacking (base 3), accumulators and control. On `ecp5` the first adder level is written in
that family's carry cells (`emit_verilog(..., "ecp5")`): yosys does not fold the operands' gating
into them from plain Verilog, which is what `tritforge verilog` writes.
"""

_UNITS = """
## Area of the units beside the array

After synthesis, each unit by itself in its default configuration: four elements a cycle, products
of 16 trits a cycle, the rotary embedding one pair. Residuals are added by the quantiser's lanes,
and top-K includes the compactor. *DSP allowed*: the same with multipliers in the form that yosys
maps to DSP blocks; a unit without multipliers is the same. Block memories are RAMB18E1 and
RAMB36E1, one counted as one.
"""

_CYCLES = """
## Cycles of real layers

From the cycle model, which the simulated RTL matches handshake for handshake. *Busy*: share of
cycles in which weights are multiplied when layers follow each other with activations and weights at
hand. *MACs used*: products that are the matrix's own, the rest being padding. *Alone*: busy, for a
layer that first waits for its activations. Each share is the least of a model's layers.
"""

_FETCHED = """
## Weights fetched and cycles taken, layer by layer

The demo model on held-out text: the exact decoder's own activations, all layers, the mean of a
block. *Paper*: active shares of the 7B model, table 2 of arXiv:2411.04965. Up rows are fetched for
gates above zero, columns of Wdown for INT8 codes other than zero, columns of Wo for what top-K
keeps.
"""

_BLOCKS = """
Cycles on the engines of each preset; beside each what the same engine would take for all weights.
*Block*: the gated feed-forward block from its first activations to its sums and their scale, on
weight memories of its own, and what it waits for in turn: gates; up rows and products that outlast
them; the quantiser's ratio; codes and columns; the norm's scale. The RTL equals the cycle model in
every transfer. In the decoder one port serves all
([0006](decisions/0006-one-image-port.md)), so that gates and up rows follow each other.
"""

_WIDTHS = """
Widths of the sparse engines, the preset's own in bold. *Dense*, *up*, *Wo + Wdown*: cycles in which
weights are multiplied, a layer, and their sum, nothing hidden behind anything else; *block* as
above, with what overlaps. LUT6: the array and both engines, in proportion to the measured ones. A
width of 0 is the array alone, INT8 inputs as two digits. 2B4T has the paper's active shares of 7B.
"""

_ROUTE = """
## Place and route

`tritforge route`: yosys and nextpnr, pins left to the tool, LUTs and registers as nextpnr counts
them. Targets: the clock of the preset, and at most 85 % of LUTs and of block RAM. *Slowest path*:
components of the registers at its ends, and how much of it is wires. *Routes*: MHz of each
route of the one placement, until one meets the clock.
"""


def _load(folder: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8"))
            for path in sorted((RESULTS / folder).glob("*.json"))]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _area() -> str:
    rows = []
    for result in _load("area"):
        if result.get("design") != "array":
            continue
        config = result["configuration"]
        rows.append((result["target"], f"{config['rows']} x {config['lanes']}",
                     str(config["digit_bits"]), f"{result['lut']:,}",
                     f"**{result['lut_per_mac']:.2f}**", f"{result['full']['lut']:,}",
                     f"{result['full']['lut_per_mac']:.2f}", str(result["full"]["dsp"]),
                     result["date"]))
    return _table(("family", "rows x lanes", "digit bits", "core LUT", "core LUT/MAC", "whole LUT",
                   "whole LUT/MAC", "DSP", "date"), rows)


def _units() -> str:
    parts = []
    for result in _load("area"):
        if result.get("design") != "units":
            continue
        rows = [(f"`{row['design']}`", f"{row['lut']:,}", f"{row['registers']:,}",
                 str(row["block_memories"]), f"{row['with_dsp']['lut']:,}",
                 str(row["with_dsp"]["dsp"])) for row in result["units"]]
        rows.append(("together", f"**{result['lut']:,}** of {result['budget']:,}",
                     f"{result['registers']:,}", str(result["block_memories"]),
                     f"**{result['with_dsp']['lut']:,}**", str(result["with_dsp"]["dsp"])))
        parts.append(_table((f"unit on {result['target']}, {result['date']}", "LUT", "registers",
                             "block memories", "LUT, DSP allowed", "DSP, DSP allowed"), rows))
    return "\n".join(parts)


def _cycles() -> str:
    rows = []
    for result in _load("cycles"):
        models: dict[str, list[dict[str, Any]]] = {}
        for layer in result["layers"]:
            models.setdefault(layer["model"], []).append(layer)
        for model, layers in models.items():
            shares = [f"{min(layer[key] for layer in layers):.1%}"
                      for key in ("busy", "mac_efficiency", "alone")]
            rows.append((f"{result['name']} ({result['rows']} x {result['lanes']})", model,
                         f"{sum(layer['cycles'] for layer in layers):,}", *shares))
    return _table(("preset", "model", "cycles a block", "busy", "MACs used", "alone"), rows)


def _fetched() -> str:
    result = _load("ffn")[0]  # the same for all
    return _table(("projection", "weights", "fetched", "share", "least to most", "paper"), [
        (row["projection"], f"{row['dense_weights']:,}", f"{row['fetched_weights']:,.0f}",
         f"**{row['share']:.1%}**", f"{row['least_share']:.1%} to {row['most_share']:.1%}",
         "" if row["paper_share"] is None else f"{row['paper_share']:.1%}")
        for row in result["projections"]])


def _blocks() -> str:
    rows = []
    for result in _load("ffn"):
        cycles = {row["projection"]: f"{row['cycles']:,.0f} of {row['dense_cycles']:,}"
                  for row in result["projections"]}
        block = result["ffn"]
        phases = " + ".join(f"{cycles:,.0f}" for cycles in block["phases"].values())
        rows.append((f"{result['name']} ({result['rows']} x {result['lanes']})",
                     f"{result['up_width']}, {result['down_width']}",
                     *(cycles[name] for name in ("gate", "up", "down", "wo")),
                     f"**{block['cycles']:,.0f}** ({block['least']:,} to {block['most']:,})",
                     phases))
    return _table(("preset", "up, down width", "gate", "up", "Wdown", "Wo", "block", "waits for"),
                  rows)


def _widths() -> str:
    rows = []
    for result in _load("ffn"):
        for row in result["widths"]:
            widths = f"{row['up_width']}, {row['down_width']}"
            if (row["up_width"], row["down_width"]) == (result["up_width"], result["down_width"]):
                widths = f"**{widths}**"
            block = row.get("block_cycles")
            rows.append((result["name"], row["model"], widths, f"{row['dense_cycles']:,}",
                         f"{row['up_cycles']:,}", f"{row['sparse_cycles']:,}",
                         f"{row['cycles']:,}", "" if block is None else f"{block:,.0f}",
                         f"{row['luts']:,}"))
    return _table(("preset", "model", "up, down width", "dense", "up", "Wo + Wdown", "sum", "block",
                   "LUT6"), rows)


def _routes() -> str:
    rows = []
    for result in _load("route"):
        path = result["critical_path"]
        rows.append((
            f"{result['design']}, {result['preset']}", result["target"],
            *(f"{result['used'][kind]:,} ({result['share'][kind]:.1%})"
              for kind in ("lut", "registers", "block_memories", "dsp")),
            f"**{result['fmax_mhz']:.1f}** of {result['clock_mhz']:.0f}",
            (f"`{path['source']}` to `{path['sink']}`, {path['ns']} ns, "
             f"{path['routing_ns']} in wires"),
            str(result["seed"]),
            ", ".join(f"{each['fmax_mhz']:.1f}" for each in result["routes"]), result["date"]))
    return _table(("design", "device", "LUT", "registers", "block RAM", "DSP", "MHz",
                   "slowest path", "seed", "routes", "date"), rows)


def render() -> str:
    """Text of the page."""
    return "".join([_HEAD, _AREA, "\n", _area(), _UNITS, "\n", _units(), _CYCLES, "\n",
                    _cycles(), _FETCHED, "\n", _fetched(), _BLOCKS, "\n", _blocks(), _WIDTHS, "\n",
                    _widths(), _ROUTE, "\n", _routes()])


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
