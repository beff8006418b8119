# SPDX-License-Identifier: Apache-2.0
"""What the register file does with each access, cycle by cycle."""

from collections.abc import Mapping
from typing import NamedTuple

from golden_model.bus_config import RegisterFileConfig
from golden_model.registers import COUNTERS, ERRORS, Register

__all__ = ["Access", "RegisterFile", "Response"]

WORD = 0xFFFF_FFFF
ALL_LANES = 0b1111


class Access(NamedTuple):
    """One access, as it goes over the stream of requests."""

    offset: int
    """Byte address of the word."""
    write: bool = False
    data: int = 0
    strobe: int = ALL_LANES


class Response(NamedTuple):
    """Answer to one access."""

    data: int
    error: bool


class RegisterFile:
    """State of the registers between two clock edges.

    A cycle is one call of `step`; what it returns happens in that cycle, and the attributes are
    what the outputs show in the next one.  `response` is None where none is offered.
    """

    def __init__(self, config: RegisterFileConfig) -> None:
        self.config = config
        self.by_offset = {one.offset: one for one in config.registers}
        self.words = {one.name: one.reset for one in config.registers
                      if one.kind in ("setting", "sticky", "strobe")}
        self.held: dict[str, int | None] = {one.name: None for one in config.registers
                                            if one.kind == "push"}
        self.counters = {f"count_{name}": 0 for name, _ in COUNTERS}
        self.shadow = 0
        self.response: Response | None = None
        self.irq = False

    @property
    def ready(self) -> bool:
        """Whether a request is taken in this cycle."""
        return self.response is None

    def step(self, request: Access | None = None, *, response_taken: bool = False,
             status: Mapping[str, int] = {}, report: Mapping[str, int] = {},
             count: frozenset[str] = frozenset(), push_ready: frozenset[str] = frozenset(),
             offered: Mapping[str, int] = {}, flush: bool = False) -> str | None:
        """Go through one cycle.

        Parameters
        ----------
        request
            What is offered; it is taken if the file is `ready`.
        status
            Words of the status registers.
        report
            Bits of each sticky register that units set.
        count
            Counters, without ``count_``, that count.
        push_ready
            Push registers whose queue takes a word.
        offered
            Words that queues offer to pop registers.
        flush
            Words held for queues are dropped.

        Returns
        -------
        str or None
            The pop register that took a word.
        """
        irq = bool(self.words["irq_status"] & self.words["irq_enable"])
        clear_counters = bool(self.words["control"] & 1 << 3)
        target = None
        answer = None
        if request is not None and self.ready:
            target = self.by_offset.get(request.offset & ~3)
            answer = self._answer(target, request, status, offered)
        faults = self._faults(target, request, answer, offered)
        held = {name: None if flush or name in push_ready else word
                for name, word in self.held.items()}
        cleared = self._write(target, request, answer, held, flush)
        self.held = held
        self._stick(cleared, report, faults)
        popped = None
        if target is not None and request is not None and not request.write:
            if target.kind == "pop" and target.name in offered:
                popped = target.name
            if target.kind == "counter":
                self.shadow = self.counters[target.name] >> 32
        for name in self.counters:
            if clear_counters:
                self.counters[name] = 0
            elif name.removeprefix("count_") in count:
                self.counters[name] = (self.counters[name] + 1) % (1 << self.config.counter_bits)
        if answer is not None:
            self.response = answer
        elif response_taken:
            self.response = None
        self.irq = irq
        return popped

    def _answer(self, target: Register | None, request: Access, status: Mapping[str, int],
                offered: Mapping[str, int]) -> Response:
        """Return what the request gets."""
        if target is None:
            return Response(0, True)
        if request.write:
            refused = target.access == "ro" or (target.kind == "push"
                                                and request.strobe != ALL_LANES)
            return Response(0, refused)
        found = {
            "constant": lambda: self.config.constants[target.name],
            "status": lambda: status.get(target.name, 0) & target.mask,
            "setting": lambda: self.words[target.name],
            "sticky": lambda: self.words[target.name],
            "counter": lambda: self.counters[target.name] & WORD,
            "counter_high": lambda: self.shadow,
            "pop": lambda: offered.get(target.name, 0) & target.mask,
        }
        return Response(found[target.kind]() if target.kind in found else 0, False)

    def _faults(self, target: Register | None, request: Access | None, answer: Response | None,
                offered: Mapping[str, int]) -> int:
        """Bits of ERRORS that the access itself sets."""
        if target is None or request is None or answer is None or answer.error:
            return 0
        full = target.kind == "push" and request.write and self.held[target.name] is not None
        empty = target.kind == "pop" and not request.write and target.name not in offered
        names = [name for name, _ in ERRORS]
        return 1 << names.index(target.fault) if full or empty else 0

    def _write(self, target: Register | None, request: Access | None, answer: Response | None,
               held: dict[str, int | None], flush: bool) -> dict[str, int]:
        """Carry a write out; returns the bits of sticky registers that it clears."""
        self.words.update({one.name: 0 for one in self.config.registers if one.kind == "strobe"})
        if target is None or request is None or answer is None or not request.write or answer.error:
            return {}
        lanes = sum(0xFF << 8 * lane for lane in range(4) if request.strobe >> lane & 1)
        data = request.data & lanes & target.mask
        if target.kind == "setting":
            self.words[target.name] = (self.words[target.name] & ~lanes) | data
        elif target.kind == "strobe":
            self.words[target.name] = data
        elif target.kind == "push" and self.held[target.name] is None and not flush:
            held[target.name] = data
        return {target.name: data} if target.kind == "sticky" else {}

    def _stick(self, cleared: Mapping[str, int], report: Mapping[str, int], faults: int) -> None:
        """Clear sticky bits, then set what units and queues report."""
        for register in self.config.registers:
            if register.kind != "sticky":
                continue
            now = report.get(register.name, 0) & register.mask
            if register.name == "errors":
                now |= faults
                failed = now
            elif failed:
                now |= 1 << 1  # IRQ_STATUS.error
            self.words[register.name] = (self.words[register.name]
                                         & ~cleared.get(register.name, 0)) | now
