# SPDX-License-Identifier: Apache-2.0
"""The registers of the table behind a stream of requests; the slaves of all buses share it."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.bus_config import ControlSlaveConfig, RegisterFileConfig

__all__ = ["RegisterFile", "count_layout", "request_layout", "response_layout", "word_layout"]

ALL_LANES = 0b1111


def request_layout(config: ControlSlaveConfig):
    """One access: the address of a word, and for a write its data and which bytes to take."""
    return data.StructLayout({"address": config.word_bits, "write": 1, "data": 32, "strobe": 4})


response_layout = data.StructLayout({"data": 32, "error": 1})
"""What a read found; `error` if there is no such register, or none that takes the write."""


def word_layout(register):
    """Fields of a register where the table has them in its word."""
    return data.FlexibleLayout(32, {field.name: data.Field(unsigned(field.bits), field.low)
                                    for field in register.fields})


def count_layout(config: RegisterFileConfig):
    """Whether each counter counts in a cycle, by name."""
    return data.StructLayout({register.name.removeprefix("count_"): 1
                              for register in config.registers if register.kind == "counter"})


class RegisterFile(wiring.Component):
    """Every register of ``config.registers``, with the semantics of its kind.

    One access at a time: a response follows its request by ``config.latency`` cycles, and the next
    request is taken a cycle after the response was.  A write takes effect with the response; so do
    the pulses of a ``strobe``.  Bytes whose strobe is 0 are neither written nor cleared nor
    started; a ``push`` takes whole words only.  There is an `error` if no register is at the
    address, if a write meets one that is read-only, or if a push is not a whole word; nothing else
    happens then.  A register that is write-only reads as 0.

    A bit of a ``sticky`` register that is set in the cycle in which it is cleared stays set.  A
    counter that is cleared in a cycle does not count it.

    Members
    -------
    i : :py:`In(stream.Signature(request_layout(...)))`
        Accesses; `ready` is registered.
    o : :py:`Out(stream.Signature(response_layout))`
        Responses, one to each request, in order.
    <status> : :py:`In(word_layout(register))`
        What a ``status`` register shows.
    <setting> : :py:`Out(word_layout(register))`
    <strobe> : :py:`Out(word_layout(register))`
        Pulses of one cycle.
    <sticky> : :py:`Out(word_layout(register))`
    set_<sticky> : :py:`In(word_layout(register))`
        Bits to set.
    <push> : :py:`Out(stream.Signature(word_layout(register)))`
        Holds one word beyond the queue behind it; a word that comes while it is full is lost and
        sets the register's `fault`.
    <pop> : :py:`In(stream.Signature(word_layout(register)))`
        A read with nothing there gives 0 and sets the register's `fault`.
    count : :py:`In(count_layout(config))`
    flush : :py:`In(1)`
        Drops the words that ``push`` registers hold.
    irq : :py:`Out(1)`
        Registered; high while a bit of IRQ_STATUS is set whose enable is.  IRQ_STATUS.error is set
        with any bit of ERRORS.
    """

    def __init__(self, config: RegisterFileConfig):
        self.config = config
        members = {
            "i": In(stream.Signature(request_layout(ControlSlaveConfig()))),
            "o": Out(stream.Signature(response_layout)),
            "count": In(count_layout(config)),
            "flush": In(1),
            "irq": Out(1),
        }
        for register in config.registers:
            layout = word_layout(register)
            if register.kind == "status":
                members[register.name] = In(layout)
            elif register.kind in ("setting", "strobe", "sticky"):
                members[register.name] = Out(layout, init={field.name: field.reset
                                                           for field in register.fields})
            elif register.kind == "push":
                members[register.name] = Out(stream.Signature(layout))
            elif register.kind == "pop":
                members[register.name] = In(stream.Signature(layout))
            if register.kind == "sticky":
                members[f"set_{register.name}"] = In(layout)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        registers = self.config.registers
        request = self.i.p
        accept = Signal()
        lanes = Signal(32)  # bits that a write reaches
        found = Signal(32)
        error = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid),
            accept.eq(self.i.valid & self.i.ready),
            lanes.eq(Cat(bit.replicate(8) for bit in request.strobe)),
            error.eq(1),
        ]
        with m.If(accept):
            m.d.sync += [self.o.valid.eq(1), self.o.p.data.eq(found), self.o.p.error.eq(error)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        reads, writes, values, faults = {}, {}, {}, {}
        selected = {register.name: Signal(name=f"at_{register.name}") for register in registers}
        with m.Switch(request.address):
            for register in registers:
                with m.Case(register.offset >> 2):
                    m.d.comb += selected[register.name].eq(1)
        for register in registers:
            here = selected[register.name]
            refused = C(register.access == "ro", 1)
            if register.kind == "push":
                refused = request.strobe != ALL_LANES
            reads[register.name] = accept & here & ~request.write
            writes[register.name] = accept & here & request.write & ~refused
            with m.If(here):
                m.d.comb += error.eq(request.write & refused)
            build = getattr(self, f"build_{register.kind}", None)
            value = (build(m, register, reads[register.name], writes[register.name], lanes, faults)
                     if build else Signal(32, name=f"{register.name}_value"))
            values[register.name] = value
            with m.If(here & ~request.write):
                m.d.comb += found.eq(value)
        self.stick(m, writes, lanes, faults)
        self.count_up(m, reads, values)
        pending = Value.cast(self.irq_status) & Value.cast(self.irq_enable)
        m.d.sync += self.irq.eq(pending.any())

        return m

    def build_constant(self, m, register, read, write, lanes, faults):
        return C(self.config.constants[register.name], 32)

    def build_status(self, m, register, read, write, lanes, faults):
        return Value.cast(getattr(self, register.name)) & register.mask

    def build_setting(self, m, register, read, write, lanes, faults):
        # Only bits that the table has are kept; the others read as 0.
        value = Value.cast(getattr(self, register.name))
        with m.If(write):
            m.d.sync += value.eq(((value & ~lanes) | (self.i.p.data & lanes)) & register.mask)
        return value

    def build_strobe(self, m, register, read, write, lanes, faults):
        pulses = self.i.p.data & lanes & register.mask
        m.d.sync += Value.cast(getattr(self, register.name)).eq(Mux(write, pulses, 0))
        return C(0, 32)

    def build_sticky(self, m, register, read, write, lanes, faults):
        return Value.cast(getattr(self, register.name))

    def build_push(self, m, register, read, write, lanes, faults):
        port = getattr(self, register.name)
        faults[register.fault] = faults.get(register.fault, C(0, 1)) | (write & port.valid)
        with m.If(port.ready | self.flush):
            m.d.sync += port.valid.eq(0)
        with m.If(write & ~port.valid & ~self.flush):
            m.d.sync += [port.valid.eq(1),
                         Value.cast(port.payload).eq(self.i.p.data & register.mask)]
        return C(0, 32)

    def build_pop(self, m, register, read, write, lanes, faults):
        port = getattr(self, register.name)
        m.d.comb += port.ready.eq(read)
        faults[register.fault] = faults.get(register.fault, C(0, 1)) | (read & ~port.valid)
        return Mux(port.valid, Value.cast(port.payload) & register.mask, 0)

    def stick(self, m, writes, lanes, faults):
        """Set what units and queues report, clear where ones are written."""
        sticky = [one for one in self.config.registers if one.kind == "sticky"]
        reported = {one.name: Signal(32, name=f"{one.name}_reported") for one in sticky}
        for register in sticky:
            value = Value.cast(getattr(self, register.name))
            now = reported[register.name]
            m.d.comb += now.eq(Value.cast(getattr(self, f"set_{register.name}")) & register.mask)
            cleared = Mux(writes[register.name], self.i.p.data & lanes, 0)
            m.d.sync += value.eq((value & ~cleared) | now)
        for name, fault in faults.items():
            with m.If(fault):
                m.d.comb += reported["errors"][self.errors.shape()[name].offset].eq(1)
        with m.If(reported["errors"].any()):
            m.d.comb += reported["irq_status"][self.irq_status.shape()["error"].offset].eq(1)

    def count_up(self, m, reads, values):
        """All counters, and the one shadow of the high halves."""
        shadow, high = Signal(32), []
        for register in self.config.registers:
            if register.kind != "counter":
                continue
            name = register.name
            counter = Signal(self.config.counter_bits, name=name)
            with m.If(self.control.clear_counters):
                m.d.sync += counter.eq(0)
            with m.Elif(self.count[name.removeprefix("count_")]):
                m.d.sync += counter.eq(counter + 1)
            high.append((reads[name], counter[32:]))
            m.d.comb += [values[name].eq(counter[:32]), values[f"{name}_high"].eq(shadow)]
        # One at most is read: no choice of the first one among them.
        found = [Mux(read, value, 0) for read, value in high]
        with m.If(Cat(read for read, _ in high).any()):
            m.d.sync += shadow.eq(reduce(or_, found))
