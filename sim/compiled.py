# SPDX-License-Identifier: Apache-2.0
"""A component as a shared library: Verilated, compiled once, driven from Python without cocotb.

For long runs: a bench in Python sees each cycle, which costs far more than the cycle; here cycles
run in C++ until something is worth looking at.
"""

import contextlib
import ctypes
import hashlib
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

from hw.emit import emit_verilog
from sim.runner import BUILD, SimulationFailed, alone, require_fst, tool_environment
from sim.shared_objects import shared_objects

__all__ = ["CompiledModel", "compile_model", "is_compiled"]

_TOP = "dut"
_HARNESS = Path(__file__).with_name("compiled.cpp")
_VERILATE = ["--cc", "-O3", "-Wno-lint", "-Wno-style", "-Wno-fatal", "--output-split",
             "200000", "--output-split-cfuncs", "20000", "--x-assign", "fast", "--x-initial",
             "fast", "--prefix", "Vdut"]
_OPTIMISE = ["OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2"]
_WORD = 32


def _run(command, cwd, environment):
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        raise SimulationFailed(f"{command[0]} failed with code {done.returncode}:\n{tail}")


def _ports(component):
    """Name, width in bits and direction of each port but the clock and the reset."""
    from amaranth.hdl import Shape

    ports = {}
    for path, member, value in component.signature.flatten(component):
        name = "__".join(map(str, path))
        ports[name] = (Shape.cast(value.shape()).width, member.flow.name == "In")
    return ports


def _wrapper(ports):
    """Verilog of a top whose reset comes out of a register, a cycle late.

    Whatever follows from an input without a clock is computed anew whenever inputs may have
    changed, twice a cycle; with a reset from outside that would be every register's next value.
    """
    escaped = [f"\\{name} " for name in ports]   # one may be a word of the language
    names = ["clk", "rst", *escaped]
    kinds = ["input clk;", "input rst;", *(
        f"{'input' if is_input else 'output'} [{width - 1}:0] {name};"
        for name, (width, is_input) in zip(escaped, ports.values(), strict=True))]
    joined = ", ".join(f".{name}({'held' if name == 'rst' else name})" for name in names)
    return "\n".join([f"module {_TOP}_top({', '.join(names)});", *(f"  {kind}" for kind in kinds),
                      "  reg held = 1'h1;", "  always @(posedge clk) held <= rst;",
                      f"  {_TOP} {_TOP}({joined});", "endmodule", ""])


def compile_model(component, *, harness=_HARNESS, defines=(), waves=False, shipped=False,
                  report=lambda text: None):
    """Directory of the compiled library of `component`, from the cache or built now.

    Parameters
    ----------
    harness
        C++ file that stands around the component: this one's, or one that includes it.
    defines
        Macros for the harness.
    waves
        Whether it can write FST files.
    shipped
        The component is all in ``hw`` and its `config` says all of it: then its Verilog need not be
        written to know whether it was compiled before.

    Raises
    ------
    MissingTool
        Verilator, g++, make or perl is not installed.
    SimulationFailed
        The design did not build.
    """
    environment = tool_environment("verilator")
    if waves:
        require_fst(environment)
    if not shipped:
        return _compile(component, environment, harness, defines, waves, report)
    known, _ = _known(component, harness, defines, waves)
    with alone(known.name):   # another process may build the same
        _, place = _known(component, harness, defines, waves)
        if place is None:
            place = _compile(component, environment, harness, defines, waves, report)
            known.write_text(place.name, encoding="utf-8")
    return place


def _known(component, harness, defines, waves):
    """File that names the build of a shipped component, and that build if it is there."""
    known = BUILD / f"compiled-of-{_sources_key(component, harness, defines, waves)}"
    with contextlib.suppress(OSError):
        place = BUILD / known.read_text(encoding="utf-8")
        if (place / "built").is_file():
            return known, place
    return known, None


def is_compiled(component, *, harness=_HARNESS, defines=(), waves=False):
    """Whether `compile_model` would give a shipped component at once."""
    return _known(component, harness, defines, waves)[1] is not None


def _sources_key(component, harness, defines, waves):
    """Hash of all that the Verilog of a component is made from: so that it need not be made."""
    digest = hashlib.sha256()
    files = [*_HARNESS.parents[1].glob("hw/**/*.py"), *_HARNESS.parents[1].glob(
        "golden_model/*.py"), _HARNESS, harness, Path(__file__)]
    for path in sorted(set(files)):
        digest.update(path.read_bytes())
    versions = [metadata.version(name) for name in ("amaranth", "verilator")]
    digest.update(repr((type(component).__qualname__, component.config, list(defines), waves,
                        versions)).encode())
    return digest.hexdigest()[:16]


def _compile(component, environment, harness, defines, waves, report):
    """Emit, translate and compile, unless the same Verilog was before."""
    report("emitting Verilog")
    ports = _ports(component)
    verilog = emit_verilog(component, _TOP) + _wrapper(ports)
    # Verilator writes a double underscore so.
    table = "".join(f"PORT({name.replace('__', '___05F')})\n" for name in ports)
    version = subprocess.run(["verilator", "--version"], env=environment, capture_output=True,
                             text=True, check=True).stdout
    options = [*_VERILATE, *(["--trace-fst"] if waves else [])]
    texts = [path.read_text(encoding="utf-8") for path in dict.fromkeys((_HARNESS, harness))]
    key = "\n".join([verilog, table, *texts, version, *options, *defines])
    place = BUILD / f"compiled-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with alone(place.name):
        if not (place / "built").is_file():
            report("compiling the simulation")
            _build(place, verilog, table, environment, harness, version, options, defines, waves)
    return place


def _build(place, verilog, table, environment, harness, version, options, defines, waves):
    """Translate and compile; a whole build is renamed into place."""
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="tmp-") as temporary:
        work = Path(temporary) / "work"
        work.mkdir()
        (work / f"{_TOP}.v").write_text(verilog, encoding="utf-8")
        (work / "ports.inc").write_text(table, encoding="utf-8")
        flags = "-fPIC"   # those here come behind make's and would win
        _run(["verilator", *options, "--Mdir", "obj", "-CFLAGS", flags, f"{_TOP}.v",
              "--top-module", f"{_TOP}_top"], work, environment)
        # A whole accelerator in one file would take g++ minutes and gigabytes.
        with shared_objects(BUILD, work / "obj", version, flags, options, _OPTIMISE):
            _run(["make", "-s", "-j2", "-C", "obj", "-f", "Vdut.mk", *_OPTIMISE,
                  "VM_PARALLEL_BUILDS=1", "CFG_CXXFLAGS_PCH_I=-include", "libVdut"], work,
                 environment)
        include = Path(environment["VERILATOR_ROOT"]) / "include"
        _run(["g++", "-shared", "-fPIC", "-O2", "-std=c++17", "-I.", "-Iobj", f"-I{include}",
              f"-I{include}/vltstd", f"-I{_HARNESS.parent}", *(f"-D{name}" for name in defines),
              str(harness), "obj/libVdut.a", "obj/libverilated.a", "-pthread",
              *(["-llz4", "-lz"] if waves else []), "-o", "dut.so"], work, environment)
        (work / "built").touch()
        work.rename(place)


class CompiledModel:
    """One running instance of a component, at the end of its reset.

    Ports are named as in the Verilog: ``i__payload``.  Inputs that are set hold their value;
    outputs are as they settle after the latest edge and the inputs set since.

    Parameters
    ----------
    component
        Amaranth component with one clock domain.
    report
        Called with a few words at each stage of building.
    """

    def __init__(self, component, *, report=lambda text: None):
        self.ports = _ports(component)
        self._index = {name: n for n, name in enumerate(self.ports)}
        library = ctypes.CDLL(str(compile_model(component, report=report) / "dut.so"))
        library.model_open.restype = ctypes.c_void_p
        library.model_close.argtypes = [ctypes.c_void_p]
        library.model_tick.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        for access in (library.model_set, library.model_get):
            access.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(ctypes.c_uint32)]
        library.model_run_until.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint32,
                                            ctypes.c_uint64]
        library.model_run_until.restype = ctypes.c_uint64
        library.model_reset.argtypes = [ctypes.c_void_p]
        self._library, self._model = library, library.model_open()
        self._words = {name: (ctypes.c_uint32 * -(-width // _WORD))()
                       for name, (width, _) in self.ports.items()}
        self.reset()

    def close(self):
        """Free the instance; it must not be used afterwards."""
        if self._model is not None:
            self._library.model_close(self._model)
            self._model = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def reset(self):
        """Hold the reset for two cycles, with every input at zero."""
        for name, (_, is_input) in self.ports.items():
            if is_input:
                self.set(name, 0)
        self._library.model_reset(self._model)

    def set(self, name, value):
        """Set an input port to a non-negative integer."""
        words = self._words[name]
        width, is_input = self.ports[name]
        if not is_input:
            raise ValueError(f"{name} is an output")
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name} takes 0..{(1 << width) - 1}, not {value}")
        for n in range(len(words)):
            words[n] = value >> (_WORD * n) & 0xFFFF_FFFF
        self._library.model_set(self._model, self._index[name], words)

    def get(self, name):
        """Return a port's value as a non-negative integer."""
        words = self._words[name]
        self._library.model_get(self._model, self._index[name], words)
        return sum(word << (_WORD * n) for n, word in enumerate(words))

    def tick(self, cycles=1):
        """Run clock cycles."""
        self._library.model_tick(self._model, cycles)

    def run_until(self, name, value, limit):
        """Run until a port of at most 32 bits has `value`; cycles that it took, 0 if it has it now.

        Raises
        ------
        SimulationFailed
            It has not after `limit` cycles.
        """
        took = self._library.model_run_until(self._model, self._index[name], value, limit)
        if took > limit:
            raise SimulationFailed(f"{name} is not {value} after {limit} cycles")
        return took

