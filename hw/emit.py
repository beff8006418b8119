# SPDX-License-Identifier: Apache-2.0
"""Verilog of a component: deterministic, relocatable, and with repeated parts emitted once."""

import re

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow

__all__ = ["LINT_WAIVERS", "emit_verilog", "lint_waivers", "once"]

LINT_WAIVERS = {
    "DECLFILENAME": "one file holds every module of a design",
    "UNUSEDSIGNAL": "a slice of a wider value leaves bits that nothing reads",
    "WIDTHEXPAND": "constants are written without their leading zeros",
    'WIDTHTRUNC -file "*" -match "Logical operator LOGNOT*"':
        "of a vector, !x is how a comparison with zero is written",
    'WIDTHTRUNC -file "*" -match "Operator ASSIGNW expects * RHS\'s SHIFT* generates *"':
        "the low bits of a shift are what is meant; Amaranth writes no other truncation",
    "VARHIDDEN": "a part and a signal inside it may have one name: each module has its own",
    "CMPCONST": "a limit that a value cannot exceed is compared with as any other",
    "CASEINCOMPLETE": "what a case statement assigns has its default ahead of it",
    "ASCRANGE": "a value that can only be zero has no bits, [-1:0], and nothing depends on it",
    "PROCASSINIT": "power-up values are part of the contract on FPGAs; reset gives the same ones",
}
"""Verilator warnings that generated Verilog may raise, and why they do not matter there."""

_CLOCK_AND_RESET = {"clk": ClockSignal, "rst": ResetSignal}


_ESCAPED = re.compile(r"\\(\S*\[\S*) ")
_BLANK = re.compile(r"  initial begin\n((?:    \S+\[\d+\] = \d+'h0+;\n)+)  end\n")
_LARGE = 4096
"""Words from which on a memory of zeros is left to power up as it does, in Verilog for synthesis:
yosys reads its initial values in a time that grows with their square."""


def _plain_names(text):
    """Return Verilog whose names have no brackets.

    Amaranth calls the fourth element of an array ``x`` by the escaped name ``x[3]``, which yosys'
    mappers for ECP5 and Xilinx take for bit 3 of ``x`` and then fail.
    """
    taken = set(re.findall(r"[\w$]+", text))
    names = {}
    for old in dict.fromkeys(_ESCAPED.findall(text)):
        new = re.sub(r"\W+", "_", old).strip("_")
        while new in taken:
            new += "_"
        taken.add(new)
        names[old] = new
    return _ESCAPED.sub(lambda match: names[match[1]] + " ", text)


def _without_blanks(text):
    """Return Verilog in which no large memory has zeros as its initial content."""
    return _BLANK.sub(lambda match: match[0] if match[1].count("\n") < _LARGE else "", text)


class _Emission:
    """Platform of one emission: the modules that are emitted once, by class and configuration."""

    def __init__(self, name, family):
        self.name = name
        self.family = family
        self.modules = {}

    def convert(self, component, name):
        text = _plain_names(verilog.convert(component, name=name, platform=self, emit_src=False,
                                            strip_internal_attrs=True))
        return text if self.family == "generic" else _without_blanks(text)

    def stub(self, kind, *config):
        """Return an instance of the module that ``kind(*config)`` becomes."""
        if (kind, config) not in self.modules:
            stem = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__.strip("_")).lower()
            count = sum(known is kind for known, _ in self.modules)
            name = f"{self.name}_{stem}" + (f"_{count}" if count else "")
            component = kind(*config)
            self.modules[kind, config] = name, component.signature, self.convert(component, name)
        return _Stub(*self.modules[kind, config])


class _Stub(wiring.Component):
    """Instance of a module that is emitted once, with the ports of the component behind it."""

    def __init__(self, name, signature, text):
        self.name = name
        self.text = text
        super().__init__(signature)

    def elaborate(self, platform):
        ports = {}
        for path, member, value in self.signature.flatten(self):
            direction = "i" if member.flow is Flow.In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        for port, signal in _CLOCK_AND_RESET.items():
            if re.search(rf"^  input {port};$", self.text, re.MULTILINE):
                ports[f"i_{port}"] = signal()
        return Instance(self.name, **ports)


def once(platform, kind, *config):
    """Return ``kind(*config)``, or while Verilog is emitted an instance of the one module for all.

    Emission time then grows with what is different in a design, not with its size.
    """
    if isinstance(platform, _Emission):
        return platform.stub(kind, *config)
    return kind(*config)


def emit_verilog(component, name, family="generic"):
    """Return the Verilog of `component` as module `name`: the same text for the same input.

    `family` ``"ecp5"`` lets components use cells of that family where yosys does not infer them;
    such Verilog is for synthesis.  For every other family the text is plain Verilog, in which large
    memories of zeros say so for ``"generic"`` only.

    Other modules in the text have names that begin with `name` as well.  Ports are flat:
    ``i_x__payload``, ``i_x__valid``, ``i_x__ready``, ``clk`` and ``rst`` (synchronous, active
    high).
    """
    emission = _Emission(name, family)
    top = emission.convert(component, name)
    return "\n".join([*(text for *_, text in emission.modules.values()), top])


def lint_waivers():
    """Return `LINT_WAIVERS` as a Verilator configuration file."""
    lines = ["`verilator_config"]
    for rule, reason in LINT_WAIVERS.items():
        lines += [f"// {reason}", f"lint_off -rule {rule}"]
    return "\n".join(lines) + "\n"
