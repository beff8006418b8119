# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite slave: the control bus in front of a stream of register accesses."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.bus_config import ControlSlaveConfig
from hw.bus.register_file import request_layout, response_layout

__all__ = ["AxiLite", "axi_lite_signature"]

OKAY, SLAVE_ERROR = 0, 2


def axi_lite_signature(config: ControlSlaveConfig):
    """AXI4-Lite with 32 data bits, as a master sees it."""
    return wiring.Signature({
        "awaddr": Out(config.address_bits), "awprot": Out(3),
        "awvalid": Out(1), "awready": In(1),
        "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
        "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        "araddr": Out(config.address_bits), "arprot": Out(3),
        "arvalid": Out(1), "arready": In(1),
        "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
    })


class AxiLite(wiring.Component):
    """One access at a time, reads and writes in turn when both wait.

    Address and data of a write come in any order; each channel holds one transfer while the access
    before is under way.  No output depends on an input of the same cycle.  A read that meets
    nothing else answers four cycles after its address, if the register file takes one cycle.
    Accesses are of words: the two low bits of an address and AxPROT are ignored.

    Members
    -------
    s_axi : :py:`In(axi_lite_signature(config))`
        A response is SLVERR where the register file says `error`, else OKAY.
    o : :py:`Out(stream.Signature(request_layout(config)))`
    i : :py:`In(stream.Signature(response_layout))`
        One to each request.
    """

    def __init__(self, config: ControlSlaveConfig):
        self.config = config
        super().__init__({
            "s_axi": In(axi_lite_signature(config)),
            "o": Out(stream.Signature(request_layout(config))),
            "i": In(stream.Signature(response_layout)),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.s_axi
        held = {name: Signal(name=f"{name}_held") for name in ("aw", "w", "ar")}
        write_address, read_address = (Signal(self.config.word_bits, reset_less=True, name=name)
                                       for name in ("write_address", "read_address"))
        data, strobe = Signal(32, reset_less=True), Signal(4, reset_less=True)
        for name, flag in held.items():
            m.d.comb += getattr(bus, f"{name}ready").eq(~flag)
            with m.If(getattr(bus, f"{name}valid") & ~flag):
                m.d.sync += flag.eq(1)
        with m.If(bus.awready):
            m.d.sync += write_address.eq(bus.awaddr[2:])
        with m.If(bus.arready):
            m.d.sync += read_address.eq(bus.araddr[2:])
        with m.If(bus.wready):
            m.d.sync += [data.eq(bus.wdata), strobe.eq(bus.wstrb)]

        writing = Signal()  # the access under way, or the last one, is a write
        m.d.comb += [
            self.o.p.address.eq(Mux(writing, write_address, read_address)),
            self.o.p.write.eq(writing),
            # The next write's data may come while a read still waits to be taken.
            self.o.p.data.eq(Mux(writing, data, 0)),
            self.o.p.strobe.eq(Mux(writing, strobe, -1)),
        ]
        can_write = held["aw"] & held["w"]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(can_write | held["ar"]):
                    m.d.sync += writing.eq(can_write & ~(held["ar"] & writing))
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    with m.If(writing):
                        m.d.sync += [held["aw"].eq(0), held["w"].eq(0)]
                    with m.Else():
                        m.d.sync += held["ar"].eq(0)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.i.ready.eq(1)
                response = Mux(self.i.p.error, SLAVE_ERROR, OKAY)
                with m.If(self.i.valid):
                    with m.If(writing):
                        m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(response)]
                    with m.Else():
                        m.d.sync += [bus.rvalid.eq(1), bus.rresp.eq(response),
                                     bus.rdata.eq(self.i.p.data)]
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                with m.If(Mux(writing, bus.bready, bus.rready)):
                    m.d.sync += [bus.bvalid.eq(0), bus.rvalid.eq(0)]
                    m.next = "IDLE"

        return m
