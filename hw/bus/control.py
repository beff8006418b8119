# SPDX-License-Identifier: Apache-2.0
"""The control port: bus slave, registers, token queues, watchdog and the order of a soft reset."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.bus_config import ControlConfig
from hw.bus.axi_lite import AxiLite, axi_lite_signature
from hw.bus.axi_read import error_layout
from hw.bus.register_file import RegisterFile, count_layout, word_layout
from hw.bus.watchdog import Watchdog
from hw.bus.wishbone import Wishbone, wishbone_signature

__all__ = ["Control", "token_layout"]

token_layout = data.StructLayout({"token": 24, "last": 1})
"""A generated token, and whether it is the last of its start."""

OWN = {"irq_enable", "watchdog_limit"}
"""Settings that nothing outside needs."""

IMAGE = ("image_address", "image_data")
"""Registers that write the image."""


def raised(word, bits):
    """Word of a register in which each named bit is what it is mapped to."""
    layout = word.shape()
    return Cat(next((bits[name] for name in bits if layout[name].offset == place), C(0, 1))
               for place in range(32))


class Control(wiring.Component):
    """All that a host reaches; the datapath and the AXI4 read master go behind it.

    A soft reset comes from the host or from the watchdog: one cycle of `stop`, then `soft_reset`
    lasts for as long as the read master is `draining`, at least one cycle more.  It empties the
    queues.  Should draining not end, the watchdog pulses `abandon`.

    Members
    -------
    s_axi or wb : :py:`In(...)`
        The control bus, whichever ``config.bus`` says.
    irq : :py:`Out(1)`
    start, halt, check : :py:`Out(1)`
        Pulses of the bits `start`, `abort` and `check`; none during a soft reset.
    kv_control : :py:`Out(word_layout)`
        Pulses.
    <setting> : :py:`Out(word_layout)`
        Every setting but irq_enable and watchdog_limit.
    status, position, random_state, kv_words : :py:`In(word_layout)`
        `status.draining` is added, and `status.idle` withheld, during a soft reset.
    set_errors, set_irq_status : :py:`In(word_layout)`
        Bits that the datapath sets, beside those of the bus, the watchdog and the queues.
    count : :py:`In(count_layout(...))`
    o_prompt : :py:`Out(stream.Signature(24))`
        Prompt tokens.
    i_generated : :py:`In(stream.Signature(token_layout))`
    i_save, o_restore : :py:`In/Out(stream.Signature(32))`
        Words of a slot that is saved or restored; not queued here.
    o_image_address, o_image_data : :py:`Out(stream.Signature(32))`
        What goes into an image on the chip.
    busy, progress : :py:`In(1)`
        For the watchdog: something is in work; something moved.
    soft_reset, stop, abandon : :py:`Out(1)`
    draining : :py:`In(1)`
        Of the read master; 0 if there is none.
    fault : :py:`In(error_layout)`
    error_address : :py:`In(64)`
    clear_fault : :py:`Out(1)`
        The host has cleared the bus errors.
    """

    def __init__(self, config: ControlConfig):
        self.config = config
        registers = config.registers.registers
        layouts = {one.name: word_layout(one) for one in registers}
        bus = ({"s_axi": In(axi_lite_signature(config.slave))} if config.bus == "axi_lite" else
               {"wb": In(wishbone_signature(config.slave))})
        super().__init__({
            **bus,
            "irq": Out(1), "start": Out(1), "halt": Out(1), "check": Out(1),
            "kv_control": Out(layouts["kv_control"]),
            **{one.name: Out(layouts[one.name]) for one in registers
               if one.kind == "setting" and one.name not in OWN},
            **{name: In(layouts[name]) for name in
               ("status", "position", "random_state", "kv_words")},
            "set_errors": In(layouts["errors"]), "set_irq_status": In(layouts["irq_status"]),
            "count": In(count_layout(config.registers)),
            "o_prompt": Out(stream.Signature(24)),
            "i_generated": In(stream.Signature(token_layout)),
            "i_save": In(stream.Signature(32)), "o_restore": Out(stream.Signature(32)),
            **{f"o_{name}": Out(stream.Signature(32)) for name in IMAGE},
            "busy": In(1), "progress": In(1), "soft_reset": Out(1), "stop": Out(1),
            "abandon": Out(1), "draining": In(1), "fault": In(error_layout),
            "error_address": In(64), "clear_fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.registers = registers = RegisterFile(config.registers)
        m.submodules.watchdog = watchdog = Watchdog(config.watchdog)
        if config.bus == "axi_lite":
            m.submodules.slave = slave = AxiLite(config.slave)
            wiring.connect(m, wiring.flipped(self.s_axi), slave.s_axi)
        else:
            m.submodules.slave = slave = Wishbone(config.slave)
            wiring.connect(m, wiring.flipped(self.wb), slave.wb)
        wiring.connect(m, slave.o, registers.i)
        wiring.connect(m, registers.o, slave.i)

        waiting = Signal()  # for the read master
        with m.FSM():
            with m.State("RUN"):
                with m.If(registers.control.soft_reset | watchdog.expired):
                    m.d.sync += self.soft_reset.eq(1)
                    m.next = "STOP"
            with m.State("STOP"):
                m.d.comb += self.stop.eq(1)
                m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += waiting.eq(1)
                with m.If(~self.draining):
                    m.d.sync += self.soft_reset.eq(0)
                    m.next = "RUN"
        held = self.soft_reset | registers.control.soft_reset
        m.d.comb += [
            self.start.eq(registers.control.start & ~held),
            self.halt.eq(registers.control.abort & ~held),
            self.check.eq(registers.control.check & ~held),
            registers.flush.eq(self.soft_reset),
            watchdog.limit.eq(registers.watchdog_limit.value),
            watchdog.busy.eq(self.busy | waiting),
            watchdog.progress.eq(self.progress),
            watchdog.draining.eq(waiting),
            self.abandon.eq(watchdog.abandon),
            self.irq.eq(registers.irq),
            registers.count.eq(self.count),
        ]

        # Settings go out, states come in; both have the layouts of the registers.
        for register in config.registers.registers:
            name = register.name
            if (register.kind == "setting" and name not in OWN) or name == "kv_control":
                m.d.comb += Value.cast(getattr(self, name)).eq(getattr(registers, name))
        # Each word is driven whole: Icarus leaves a constant part of a register unknown.
        for name in ("position", "random_state", "kv_words"):
            m.d.comb += Value.cast(getattr(registers, name)).eq(getattr(self, name))
        status = Value.cast(self.status)
        idle, draining = (1 << self.status.shape()[name].offset for name in ("idle", "draining"))
        bus_errors = tuple(f"bus_{name}" for name, _ in error_layout)
        causes = dict(zip(bus_errors, (self.fault[name] for name, _ in error_layout)))
        causes |= {"watchdog": watchdog.expired, "bus_lost": watchdog.abandon}
        m.d.comb += [
            Value.cast(registers.status).eq(
                Mux(self.soft_reset, status & ~idle | draining, status)),
            Value.cast(registers.set_errors).eq(
                Value.cast(self.set_errors) | raised(self.set_errors, causes)),
            Cat(registers.error_address_low.value,
                registers.error_address_high.value).eq(self.error_address),
            self.clear_fault.eq(~Cat(registers.errors[name] for name in bus_errors).any()
                                & ~Value.cast(self.fault).any()),
        ]

        self.queues(m, registers)
        return m

    def queues(self, m, registers):
        """Tokens in both directions; the words of a slot pass by."""
        config = self.config.registers
        flushed = ResetInserter(self.soft_reset)
        m.submodules.prompt = prompt = flushed(
            fifo.SyncFIFO(width=24, depth=config.prompt_depth))
        m.submodules.generated = generated = flushed(
            fifo.SyncFIFO(width=token_layout.size, depth=config.generated_depth))
        token = data.View(token_layout, generated.r_data)
        open_ = ~self.soft_reset
        m.d.comb += [
            prompt.w_data.eq(registers.prompt_token.p.token),
            prompt.w_en.eq(registers.prompt_token.valid),
            registers.prompt_token.ready.eq(prompt.w_rdy),
            self.o_prompt.payload.eq(prompt.r_data),
            self.o_prompt.valid.eq(prompt.r_rdy & open_),
            prompt.r_en.eq(self.o_prompt.ready & open_),
            generated.w_data.eq(self.i_generated.payload),
            generated.w_en.eq(self.i_generated.valid & open_),
            self.i_generated.ready.eq(generated.w_rdy & open_),
            registers.generated_token.p.token.eq(token.token),
            registers.generated_token.p.last.eq(token.last),
            registers.generated_token.p.valid.eq(1),
            registers.generated_token.valid.eq(generated.r_rdy),
            generated.r_en.eq(registers.generated_token.ready),
            registers.levels.prompt_space.eq(config.prompt_depth - prompt.level),
            registers.levels.generated.eq(generated.level),
        ]
        events = {"prompt": self.o_prompt.valid & self.o_prompt.ready,
                  "token": self.i_generated.valid & self.i_generated.ready}
        m.d.comb += Value.cast(registers.set_irq_status).eq(
            Value.cast(self.set_irq_status) | raised(self.set_irq_status, events))
        save, restore = registers.kv_save_data, registers.kv_restore_data
        m.d.comb += [
            save.p.word.eq(self.i_save.payload), save.valid.eq(self.i_save.valid),
            self.i_save.ready.eq(save.ready),
            self.o_restore.payload.eq(restore.p.word), self.o_restore.valid.eq(restore.valid),
            restore.ready.eq(self.o_restore.ready),
        ]
        for name in IMAGE:
            inner, outer = getattr(registers, name), getattr(self, f"o_{name}")
            m.d.comb += [outer.payload.eq(Value.cast(inner.payload)),
                         outer.valid.eq(inner.valid), inner.ready.eq(outer.ready)]
