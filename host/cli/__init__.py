# SPDX-License-Identifier: Apache-2.0
"""The ``tritforge`` command.

Each command is one module with one function; what it needs beyond the command line is imported
inside it, so that ``tritforge --help`` answers at once.
"""

import json
import sys

import typer

from host.cli.bench import bench
from host.cli.compare import compare
from host.cli.compile import compile_, disassemble, fit
from host.cli.cycles import cycles
from host.cli.demo import demo
from host.cli.doctor import doctor
from host.cli.generate import generate
from host.cli.import_ import import_
from host.cli.layers import layers
from host.cli.presets import presets
from host.cli.registers import registers
from host.cli.route import route
from host.cli.serve import serve
from host.cli.sim import sim
from host.cli.synth import synth
from host.cli.train import train
from host.cli.verilog import verilog
from host.errors import TritforgeError

__all__ = ["app", "main"]

INTERRUPTED = 130
EPILOG = ("Exit codes: 0 all is well; 1 a check failed; 2 the request is at fault; 3 a tool is "
          "missing; 130 interrupted.")

app = typer.Typer(
    name="tritforge", no_args_is_help=True, pretty_exceptions_enable=False, epilog=EPILOG,
    add_completion=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Generate, simulate and measure hardware for BitNet a4.8 language models.")
app.command("demo")(demo)
app.command("generate")(generate)
app.command("layers")(layers)
app.command("compile")(compile_)
app.command("fit")(fit)
app.command("disassemble")(disassemble)
app.command("verilog")(verilog)
app.command("sim")(sim)
app.command("synth")(synth)
app.command("route")(route)
app.command("cycles")(cycles)
app.command("compare")(compare)
app.command("import")(import_)
app.command("bench")(bench)
app.command("serve")(serve)
app.command("presets")(presets)
app.command("registers")(registers)
app.command("doctor")(doctor)
app.command("train", add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)


def _fail(message: str, exit_code: int) -> int:
    """Report an error where the caller looks for it: as JSON if JSON was asked for."""
    if "--json" in sys.argv:
        document = {"error": {"exit_code": exit_code, "messages": message.splitlines()}}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        lines = "\n       ".join(message.splitlines())
        sys.stderr.write(f"error: {lines}\n")
    return exit_code


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app(prog_name="tritforge")
    except TritforgeError as error:
        sys.exit(_fail(str(error), error.exit_code))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(_fail(f"{place}{error.strerror or error}", 1))
