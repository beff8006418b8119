# SPDX-License-Identifier: Apache-2.0
"""The whole bus side with a datapath just large enough to need it: tokens are folds of memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, flipped

from golden_model.bus_config import AxiReadConfig, ControlConfig, RegisterFileConfig
from hw.bus.axi_read import AxiRead, axi_read_signature
from hw.bus.control import Control

__all__ = ["MEMORY", "STRIDE", "Toy", "control_config", "fold"]

MEMORY = AxiReadConfig(data_bits=64, address_bits=32, max_burst=8, outstanding=4, buffer_beats=32)
STRIDE = 4096 + 8
"""Bytes from one token's beats to the next one's: a burst starts anywhere in a page."""


def control_config(bus):
    """Return a configuration with small queues."""
    return ControlConfig(bus=bus, registers=RegisterFileConfig(
        config_hash="0123456789abcdef", memory_data_bits=64, memory_outstanding=4,
        memory_address_bits=32, prompt_depth=4, generated_depth=4))


def fold(words):
    """Token that comes of beats."""
    total = 0
    for word in words:
        total ^= word
    return (total ^ total >> 24 ^ total >> 48) & 0xFF_FFFF


class Toy(wiring.Component):
    """After a start: GENERATE_COUNT tokens, each folded from PROMPT_COUNT beats of the image."""

    def __init__(self, config: ControlConfig):
        self.config = config
        self.control = Control(config)
        bus = "s_axi" if config.bus == "axi_lite" else "wb"
        self.bus = bus
        super().__init__({
            bus: self.control.signature.members[bus],
            "m_axi": Out(axi_read_signature(MEMORY)), "irq": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = control = self.control
        m.submodules.memory = memory = AxiRead(MEMORY)
        wiring.connect(m, flipped(getattr(self, self.bus)), getattr(control, self.bus))
        wiring.connect(m, memory.m_axi, flipped(self.m_axi))
        m.d.comb += [
            self.irq.eq(control.irq),
            memory.stop.eq(control.stop), memory.abandon.eq(control.abandon),
            memory.clear.eq(control.clear_fault), control.draining.eq(memory.draining),
            control.fault.eq(memory.fault), control.error_address.eq(memory.error_address),
            control.progress.eq(memory.progress),
        ]
        d = Module()  # the datapath, which a soft reset clears
        m.submodules.datapath = ResetInserter(control.soft_reset)(d)
        index, address = Signal(20), Signal(32)
        total, done = Signal(64), Signal()
        events = {"cycles": C(1, 1), "weight_beats": Signal(), "tokens": Signal()}
        sink = control.i_generated
        d.d.comb += [
            memory.i.p.address.eq(address),
            memory.i.p.beats.eq(control.prompt_count.value),
            sink.p.token.eq(total[:24] ^ total[24:48] ^ total[48:]),
            sink.p.last.eq(index + 1 == control.generate_count.value),
            Value.cast(control.count).eq(Cat(events[name] if name in events else C(0, 1)
                                             for name, _ in control.count.shape())),
        ]
        with d.FSM() as fsm:
            with d.State("IDLE"):
                d.d.sync += [index.eq(0), address.eq(control.image_base_low.value)]
                with d.If(control.start):
                    d.next = "FETCH"
            with d.State("FETCH"):
                d.d.comb += memory.i.valid.eq(1)
                d.d.sync += total.eq(0)
                with d.If(memory.i.ready):
                    d.next = "SUM"
            with d.State("SUM"):
                d.d.comb += memory.o.ready.eq(1)
                with d.If(memory.o.valid):
                    d.d.comb += events["weight_beats"].eq(1)
                    d.d.sync += total.eq(total ^ memory.o.p.data)
                    with d.If(memory.o.p.last):
                        d.next = "EMIT"
            with d.State("EMIT"):
                d.d.comb += sink.valid.eq(1)
                with d.If(sink.ready):
                    d.d.comb += events["tokens"].eq(1)
                    d.d.sync += [index.eq(index + 1), address.eq(address + STRIDE)]
                    d.next = "FETCH"
                    with d.If(sink.p.last | control.halt):
                        d.d.comb += done.eq(1)
                        d.next = "IDLE"
            d.d.comb += [Value.cast(control.status).eq(fsm.ongoing("IDLE")),
                         Value.cast(control.set_irq_status).eq(done)]
            # Waiting for the host to take tokens is not hanging.
            d.d.comb += control.busy.eq(~fsm.ongoing("IDLE") & ~fsm.ongoing("EMIT"))
        return m
