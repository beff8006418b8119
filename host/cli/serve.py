# SPDX-License-Identifier: Apache-2.0
"""``tritforge serve``: an accelerator without a board, behind a pseudo-terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.output import ConfigOption, FileOption, JsonOption, PresetOption, print_json, step

if TYPE_CHECKING:
    from golden_model.accelerator_config import AcceleratorConfig

__all__ = ["serve"]

DEMO = Path(__file__).parents[2] / "models" / "demo" / "model.safetensors"
DEFAULT_PRESET = "ulx3s"
KINDS = ("cpu", "sim", "array", "array-model")
SLICE_CYCLES = 2_000
"""Cycles of a simulation between two looks at the line."""


def serve(
    kind: Annotated[str, typer.Option(
        "--backend", help="What computes: `cpu` (the exact model behind modelled registers), `sim` "
        "(the Verilated accelerator), `array` (the Verilated array alone, a service of matrix "
        "products), or `array-model` (its golden model).")] = "cpu",
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    model: Annotated[Path | None, typer.Option(
        metavar="FILE", help="With `cpu`: packed model; default: the demo model.",
        show_default=False)] = None,
    seconds: Annotated[float | None, typer.Option(
        help="End after so long; default: when interrupted.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the link's protocol in front of an accelerator (default: ulx3s), as a board would.

    The first line says which terminal it is. A model's image is uploaded and checked over it.

    For example, in two terminals:

    - `tritforge serve --preset ulx3s`

    - `tritforge generate "In the beginning" --backend serial --preset ulx3s --port /dev/pts/3`

    The array alone, of the smallest board, the rest on the host:

    - `tritforge serve --backend array --preset icebreaker`

    - `tritforge generate "In the beginning" --backend array --preset icebreaker --port /dev/pts/3`
    """
    from golden_model.config import config_hash
    from golden_model.presets import suggestion
    from host.array.registers import array_hash
    from host.configure import resolve
    from host.errors import UserError
    from host.link.server import Server

    if kind not in KINDS:
        raise UserError(f"--backend {kind!r} is unknown{suggestion(kind, KINDS)} (there are: "
                        f"{', '.join(KINDS)})")
    found = resolve(preset or (None if config else DEFAULT_PRESET),
                    Path(config) if config else None, override or ())
    with step("Preparing") as progress:
        bus = _bus(kind, found, model or DEMO, progress)
    whose = f"{array_hash(found.array):016x}" if kind.startswith("array") else config_hash(found)
    with Server(bus) as server:
        if as_json:
            print_json({"port": str(server.path), "backend": kind, "preset": found.name,
                        "config_hash": whose})
        else:
            sys.stdout.write(f"{server.path}: {kind} as {found.name}, configuration {whose}\n")
        sys.stdout.flush()
        _until_the_end(server, seconds)


def _until_the_end(server: Any, seconds: float | None) -> None:
    """Wait for the time, or for an interrupt."""
    try:
        while server.wait(1.0 if seconds is None else seconds) and seconds is None:
            pass
    except KeyboardInterrupt:
        sys.stderr.write("\n")


def _bus(kind: str, config: "AcceleratorConfig", model: Path, report: Any) -> Any:
    """Make what answers at the device's end."""
    from host.errors import UserError
    from host.fit import image_for
    from host.model_file import ModelFileError, load_model

    if kind.startswith("array"):
        from host.array.registers import ArrayBus
        from host.array.service import Bank, ModelEngine
        from host.array.simulated import SimulatedEngine

        return ArrayBus(Bank(ModelEngine(config.array) if kind == "array-model" else
                             SimulatedEngine(config.array, report)))
    if not config.is_whole:
        raise UserError(f"{config.name} is no whole accelerator: it lacks units or system; "
                        "--backend array serves its array")
    if kind == "sim":
        return _simulated(config, report)
    from host.backends.cpu import CpuBackend
    from host.link.server import modelled

    try:
        weights = load_model(model)
    except ModelFileError as error:
        raise UserError(str(error)) from error
    image_for(weights, config)   # says what does not fit
    return modelled(CpuBackend(), weights, config)


def _simulated(config: "AcceleratorConfig", report: Any) -> Any:
    """Open the Verilated accelerator, which works between two looks at the line."""
    from host.backends.sim import SimBus
    from host.errors import UserError
    from host.link.server import DriverBus

    try:
        from hw.accelerator import Accelerator
        from sim.runner import MissingTool, SimulationFailed
        from sim.system import System
    except ImportError as error:
        raise UserError(f"{error}: `tritforge doctor` says how to mend it") from error
    try:
        system = System(Accelerator(config), report=report)
    except (MissingTool, SimulationFailed) as error:
        raise UserError(str(error)) from error
    return DriverBus(SimBus(system), config, lambda: system.run(SLICE_CYCLES))
