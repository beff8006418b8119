# SPDX-License-Identifier: Apache-2.0
"""The control port cycle by cycle: its parts' models, the token queues, and the soft reset."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from golden_model.bus import axi_lite, wishbone
from golden_model.bus.axi_read import Error
from golden_model.bus.register_file import RegisterFile
from golden_model.bus.watchdog import Watchdog
from golden_model.bus_config import ControlConfig, WishboneConfig
from golden_model.registers import ERRORS

__all__ = ["Control", "Inputs", "Outputs"]

BUS_ERRORS = 0b111
IDLE, DRAINING = 1 << 0, 1 << 4
"""Bits of STATUS."""
TOKEN, PROMPT = 1 << 2, 1 << 3
"""Bits of IRQ_STATUS."""
START, ABORT, SOFT_RESET, CHECK = 1 << 0, 1 << 1, 1 << 2, 1 << 4
"""Bits of CONTROL."""


class Inputs(NamedTuple):
    """What the port sees in one cycle, the bus aside; None where ``valid`` is low."""

    status: Mapping[str, int] = {}
    """Words of the status registers; levels and error address are the port's own."""
    set_errors: int = 0
    set_irq_status: int = 0
    counting: frozenset[str] = frozenset()
    """Counters, without ``count_``, that count."""
    prompt_ready: bool = False
    generated: tuple[int, bool] | None = None
    """Token, and whether it is the last."""
    save: int | None = None
    restore_ready: bool = False
    image_ready: bool = False
    busy: bool = False
    progress: bool = False
    draining: bool = False
    fault: Error = Error()
    error_address: int = 0


class Outputs(NamedTuple):
    """What the port shows in one cycle; None where ``valid`` is low."""

    irq: bool
    start: bool
    halt: bool
    check: bool
    soft_reset: bool
    stop: bool
    abandon: bool
    clear_fault: bool
    prompt: int | None
    generated_ready: bool
    restore: int | None
    image_address: int | None
    image_data: int | None
    kv_control: int


class Control:
    """State of the control port between two clock edges."""

    def __init__(self, config: ControlConfig) -> None:
        self.config = config
        slave = config.slave
        self.slave: axi_lite.AxiLite | wishbone.Wishbone = (
            wishbone.Wishbone(slave) if isinstance(slave, WishboneConfig) else axi_lite.AxiLite())
        self.registers = RegisterFile(config.registers)
        self.watchdog = Watchdog(config.watchdog)
        self.prompt: deque[int] = deque()
        self.generated: deque[tuple[int, bool]] = deque()
        self.state = "run"

    def outputs(self, now: Inputs) -> Outputs:
        """Return what the port shows; only `clear_fault` depends on the inputs of the cycle."""
        words = self.registers.words
        reset = self.state != "run"
        held = reset or bool(words["control"] & SOFT_RESET)
        return Outputs(
            irq=self.registers.irq,
            start=bool(words["control"] & START) and not held,
            halt=bool(words["control"] & ABORT) and not held,
            check=bool(words["control"] & CHECK) and not held,
            soft_reset=reset, stop=self.state == "stop",
            abandon=self.watchdog.pulses.abandon,
            clear_fault=not words["errors"] & BUS_ERRORS and not any(now.fault),
            prompt=self.prompt[0] if self.prompt and not reset else None,
            generated_ready=(len(self.generated) < self.config.registers.generated_depth
                             and not reset),
            restore=self.registers.held["kv_restore_data"],
            image_address=self.registers.held["image_address"],
            image_data=self.registers.held["image_data"],
            kv_control=words["kv_control"])

    def step(self, bus: axi_lite.Inputs | wishbone.Inputs, now: Inputs) -> bool:
        """Go through one cycle; returns whether a word of `save` is taken.

        The fields of `bus` that come from the register file do not matter.
        """
        out = self.outputs(now)
        registers, pulses = self.registers, self.watchdog.pulses
        depth = self.config.registers
        request, waiting = self.slave.request, self.slave.waiting
        bus = bus._replace(request_ready=registers.ready, response=registers.response)
        token_in = now.generated is not None and out.generated_ready
        token_out = out.prompt is not None and now.prompt_ready

        self.watchdog.step(registers.words["watchdog_limit"],
                           busy=now.busy or self.state == "drain", progress=now.progress,
                           draining=self.state == "drain")
        asked = bool(registers.words["control"] & SOFT_RESET) or pulses.expired
        self.state = {"run": "stop" if asked else "run", "stop": "drain",
                      "drain": "drain" if now.draining else "run"}[self.state]

        status = {**now.status,
                  "error_address_low": now.error_address & 0xFFFF_FFFF,
                  "error_address_high": now.error_address >> 32,
                  "levels": (len(self.generated) << 16
                             | depth.prompt_depth - len(self.prompt))}
        if out.soft_reset:
            status["status"] = status.get("status", 0) & ~IDLE | DRAINING
        names = [name for name, _ in ERRORS]
        errors = (now.set_errors | sum(bit << place for place, bit in enumerate(now.fault))
                  | pulses.expired << names.index("watchdog")
                  | pulses.abandon << names.index("bus_lost"))
        offered = {}
        if self.generated:
            token, last = self.generated[0]
            offered["generated_token"] = 1 << 31 | int(last) << 30 | token
        if now.save is not None:
            offered["kv_save_data"] = now.save
        room = len(self.prompt) < depth.prompt_depth
        pushed = registers.held["prompt_token"] if room else None
        popped = registers.step(
            request, response_taken=waiting, status=status,
            report={"errors": errors, "irq_status": (now.set_irq_status | token_in * TOKEN
                                                     | token_out * PROMPT)},
            count=now.counting, offered=offered, flush=out.soft_reset,
            push_ready=frozenset([*["prompt_token"] * room,
                                  *["kv_restore_data"] * now.restore_ready,
                                  *["image_address", "image_data"] * now.image_ready]))

        if token_out:
            self.prompt.popleft()
        if pushed is not None:
            self.prompt.append(pushed)
        if popped == "generated_token":
            self.generated.popleft()
        if token_in and now.generated is not None:
            self.generated.append(now.generated)
        if out.soft_reset:
            self.prompt.clear()
            self.generated.clear()
        if isinstance(self.slave, wishbone.Wishbone) and isinstance(bus, wishbone.Inputs):
            self.slave.step(bus)
        elif isinstance(self.slave, axi_lite.AxiLite) and isinstance(bus, axi_lite.Inputs):
            self.slave.step(bus)
        return popped == "kv_save_data"
