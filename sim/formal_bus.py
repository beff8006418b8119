# SPDX-License-Identifier: Apache-2.0
"""What is proved of the bus side, each with a bug that must break it.

Whatever drives the masters' and slaves' other side keeps to the bus' own rules, and to no others:
memories answer with errors, with bursts of any length, and with beats that nobody asked for.
"""

from amaranth import *

from golden_model.bus_config import AxiReadConfig, ControlSlaveConfig, WishboneConfig
from hw.bus import axi_lite, axi_read, wishbone
from sim.formal_kv import Proof, accept, offer

__all__ = ["PROOFS"]

CONFIG = AxiReadConfig(data_bits=64, address_bits=13, max_burst=4, outstanding=2, buffer_beats=6,
                       max_beats=7)
TINY = AxiReadConfig(data_bits=64, address_bits=13, max_burst=2, outstanding=2, buffer_beats=4,
                     max_beats=3)
SMALLEST = AxiReadConfig(data_bits=64, address_bits=13, max_burst=2, outstanding=2, buffer_beats=2,
                         max_beats=3)
SLAVE = ControlSlaveConfig(address_bits=4)
PAGE_BEATS = 4096 // CONFIG.beat_bytes


def held(p, name, channel, valid, ready, payload):
    """Demand of one channel of a bus that what it offers stays until it is taken."""
    kept, there = p.before(valid & ~ready, f"{channel}_kept")
    past, _ = p.before(Cat(payload), f"{channel}_payload")
    p.check(name, ~(there & kept) | (valid & (Cat(payload) == past)))


def keep(p, channel, valid, ready, payload):
    """Rely on the other side to do the same."""
    kept, there = p.before(valid & ~ready, f"{channel}_kept")
    past, _ = p.before(Cat(payload), f"{channel}_payload")
    p.assume(~(there & kept) | (valid & (Cat(payload) == past)))


def pulse(p, port, name):
    """Drive an input with anything."""
    p.m.d.comb += port.eq(p.anything(1, name))


def counted(p, name, more, fewer, clear=None):
    """Return a counter of what is under way."""
    count = Signal(4, name=name)
    following = count + more - fewer
    p.m.d.sync += count.eq(following if clear is None else Mux(clear, 0, following))
    return count


def master(p, config, stops=True):
    """Return a read master in front of a memory of any kind, and the bursts that this owes."""
    p.m.submodules.dut = dut = axi_read.AxiRead(config)
    bus = dut.m_axi
    offer(p, dut.i, "i")
    p.assume(~dut.i.valid | (dut.i.p.beats != 0))
    accept(p, dut.o, "o")
    for name in ("stop", "abandon", "clear") if stops else ("clear",):
        pulse(p, getattr(dut, name), name)
    pulse(p, bus.arready, "arready")
    answer = (bus.rid, bus.rresp, bus.rlast)
    pulse(p, bus.rvalid, "rvalid")
    for field, name in zip(answer, ("rid", "rresp", "rlast")):
        p.m.d.comb += field.eq(p.anything(field.shape(), name))
    keep(p, "r", bus.rvalid, bus.rready, answer)

    # What the memory owes, as the bus shows it.
    given_up = dut.draining & dut.abandon & ~bus.arvalid
    ours = bus.rvalid & bus.rready & (bus.rid == bus.arid)
    owed = Signal(4)
    answered = ours & bus.rlast & (owed != 0)
    p.m.d.sync += owed.eq(Mux(given_up, 0, owed + (bus.arvalid & bus.arready) - answered))
    # It cannot answer what it has not been asked yet.
    p.assume(~(bus.rvalid & (bus.rid == bus.arid)) | (owed != 0) | ~bus.arvalid)

    return dut, owed


def fetching(p):
    """Bursts are lawful, stay on offer, and are never too many; a soft reset leaves none."""
    dut, owed = master(p, CONFIG)
    bus = dut.m_axi
    shown = (bus.arid, bus.araddr, bus.arlen)
    held(p, "address stays", "ar", bus.arvalid, bus.arready, shown)
    place = Signal(range(PAGE_BEATS))
    p.m.d.comb += place.eq(bus.araddr >> CONFIG.beat_shift)
    p.check("page", ~bus.arvalid | (place + bus.arlen < PAGE_BEATS))
    p.check("outstanding", owed + bus.arvalid <= CONFIG.outstanding)

    fresh = bus.arvalid & ~p.before(bus.arvalid & ~bus.arready, "waited")[0]
    drained, there = p.before(dut.draining, "drained")
    p.check("quiet", ~(there & dut.draining & drained) | (~fresh & ~dut.o.valid & ~dut.i.ready))
    p.check("nothing stale", ~(there & drained & ~dut.draining) | ((owed == 0) & ~bus.arvalid))
    stopped, _ = p.before(dut.stop | dut.draining, "stopped")
    kept, _ = p.before(dut.o.valid & ~dut.o.ready, "o_kept")
    p.check("beat stays", ~(there & kept & ~stopped) | dut.o.valid)


def reserving(p):
    """Beats that were asked for and not yet taken are never more than the buffer holds."""
    dut, _ = master(p, TINY)
    bus = dut.m_axi
    fresh = bus.arvalid & ~p.before(bus.arvalid & ~bus.arready, "waited")[0]
    before, beats = Signal(4), Signal(4)
    p.m.d.comb += beats.eq(before + Mux(fresh, bus.arlen + 1, 0))
    p.m.d.sync += before.eq(Mux(dut.draining, 0, beats - (dut.o.valid & dut.o.ready)))
    p.check("room", dut.draining | (beats <= TINY.buffer_beats))


def answering(p):
    """Each command gives as many beats as it asked for, in order, and nothing waits for ever."""
    dut, owed = master(p, SMALLEST, stops=False)
    bus = dut.m_axi
    p.m.d.comb += bus.rdata.eq(p.anything(SMALLEST.data_bits, "rdata"))
    asks, given = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
    due = Signal(3)  # beats of all commands
    p.assume(~dut.i.valid | (due <= 4))
    p.m.d.sync += due.eq(due + Mux(asks, dut.i.p.beats, 0) - given)
    p.check("none too many", ~dut.o.valid | (due != 0))
    still = Signal(3)
    p.m.d.sync += still.eq(Mux((due == 0) | dut.o.valid | bus.arvalid | (owed != 0), 0, still + 1))
    p.check("goes on", still <= SMALLEST.request_latency + 1)

    # Of all commands any one: its last beat is marked as such, and no other of its beats.
    ahead, left, marked = Signal(3), Signal(2), Signal()
    with p.m.If(asks & ~marked & p.anything(1, "mark")):
        p.m.d.sync += [marked.eq(1), ahead.eq(due - given), left.eq(dut.i.p.beats)]
    with p.m.If(marked & given):
        with p.m.If(ahead != 0):
            p.m.d.sync += ahead.eq(ahead - 1)
        with p.m.Else():
            p.m.d.sync += [left.eq(left - 1), marked.eq(left != 1)]
    p.check("last", ~(marked & (ahead == 0) & dut.o.valid) | (dut.o.p.last == (left == 1)))


def failing(p):
    """Errors of the memory are told, and stay until they are cleared."""
    dut, _ = master(p, TINY)
    bus = dut.m_axi
    error = Value.cast(dut.error)
    past, there = p.before(error, "error")
    cleared, _ = p.before(dut.clear, "cleared")
    p.check("errors stay", ~there | cleared | ((past & ~error) == 0))
    for name, code in (("slave", axi_read.SLAVE_ERROR), ("decode", axi_read.DECODE_ERROR)):
        came, _ = p.before(bus.rvalid & bus.rready & (bus.rid == bus.arid) & (bus.rresp == code),
                           f"came_{name}")
        p.check("errors are told", ~came | dut.error[name])


def behind(p, dut):
    """Connect a register file that answers each request once, when it likes."""
    accept(p, dut.o, "o")
    owed = counted(p, "asked", dut.o.valid & dut.o.ready, dut.i.valid & dut.i.ready)
    p.m.d.comb += [dut.i.valid.eq(p.anything(1, "i_valid") & (owed != 0)),
                   dut.i.payload.eq(p.anything(dut.i.payload.shape(), "i"))]
    p.stable("request stays", dut.o)
    p.check("one at a time", owed + dut.o.valid <= 1)


def lite(p):
    """Each access has one response, which stays until it is taken."""
    p.m.submodules.dut = dut = axi_lite.AxiLite(SLAVE)
    bus = dut.s_axi
    behind(p, dut)
    fields = {"aw": (bus.awaddr,), "w": (bus.wdata, bus.wstrb), "ar": (bus.araddr,)}
    taken = {}
    for name, payload in fields.items():
        valid, ready = getattr(bus, f"{name}valid"), getattr(bus, f"{name}ready")
        p.m.d.comb += valid.eq(p.anything(1, f"{name}_valid"))
        for number, field in enumerate(payload):
            p.m.d.comb += field.eq(p.anything(field.shape(), f"{name}_{number}"))
        keep(p, name, valid, ready, payload)
        taken[name] = valid & ready
    pulse(p, bus.bready, "bready")
    pulse(p, bus.rready, "rready")
    held(p, "write response stays", "b", bus.bvalid, bus.bready, (bus.bresp,))
    held(p, "read response stays", "r", bus.rvalid, bus.rready, (bus.rdata, bus.rresp))
    for channel, parts in (("b", ("aw", "w")), ("r", ("ar",))):
        valid, ready = getattr(bus, f"{channel}valid"), getattr(bus, f"{channel}ready")
        for part in parts:
            count = counted(p, f"{part}_owed", taken[part], valid & ready)
            p.check(f"{channel} is owed", (~valid | (count != 0)) & (count <= 2))


def classic(config):
    """Return the design of a Wishbone slave."""
    def design(p):
        """Give each access one answer, within the bus cycle that it belongs to."""
        p.m.submodules.dut = dut = wishbone.Wishbone(config)
        bus = dut.wb
        behind(p, dut)
        for name in ("cyc", "stb", "we", "adr", "sel", "dat_w"):
            port = getattr(bus, name)
            p.m.d.comb += port.eq(p.anything(port.shape(), name))
        answer = bus.ack | bus.err
        wanted = bus.cyc & bus.stb
        if not config.pipelined:
            # The strobe and what goes with it stay until the answer, or the bus cycle ends.
            kept, there = p.before(wanted & ~answer, "kept")
            past, _ = p.before(Cat(bus.we, bus.adr, bus.sel, bus.dat_w), "wanted")
            same = Cat(bus.we, bus.adr, bus.sel, bus.dat_w) == past
            p.assume(~(there & kept & bus.cyc) | (bus.stb & same))
        # Requests of this bus cycle that wait for their answer.
        owed = Signal(2)
        begun = wanted & ~bus.stall if config.pipelined else wanted & (owed == 0)
        if config.pipelined:
            following = owed + begun - answer
        else:
            following = Mux(answer, 0, owed | begun)
        p.m.d.sync += owed.eq(Mux(bus.cyc, following, 0))
        cycle, _ = p.before(bus.cyc, "cycle")
        p.check("answer is owed", ~(answer & bus.cyc & cycle) | (owed != 0))
        p.check("one answer", ~(bus.ack & bus.err))
        p.check("none outside", ~answer | cycle)
    return design


READ, LITE, WISHBONE = "hw.bus.axi_read", "hw.bus.axi_lite", "hw.bus.wishbone"
WISHBONE_BUGS = {
    "request stays": (WISHBONE, "with m.If(self.o.ready):", "with m.If(1):"),
    "one at a time": (WISHBONE, "with m.If(self.i.valid):", "with m.If(1):"),
    "answer is owed": (WISHBONE, "wanted.eq(wanted & bus.cyc)]", "wanted.eq(1)]"),
    "one answer": (WISHBONE, "answered & ~self.i.p.error", "answered"),
    "none outside": (WISHBONE, "answered = wanted & bus.cyc", "answered = wanted"),
}
PROOFS = (
    Proof(name="AXI4 read master", design=fetching, apart=True, bugs={
        "address stays": (READ, "with m.If(bus.arready):", "with m.If(1):"),
        "page": (READ, "config.max_burst - index[:config.max_burst.bit_length() - 1]",
                 "config.max_burst"),
        "outstanding": (READ, "depth=config.outstanding))", "depth=config.outstanding + 1))"),
        "quiet": (READ, "self.i.ready.eq(~halted & ", "self.i.ready.eq("),
        "nothing stale": (READ, "~bus.arvalid & ~ledger.r_rdy", "~bus.arvalid"),
        "beat stays": (READ, "buffer.r_en.eq(self.o.ready & ~self.draining)", "buffer.r_en.eq(1)"),
    }),
    Proof(name="AXI4 read master's beats", design=answering, apart=True, bugs={
        "none too many": (READ, "store.eq(filling | (expected & ~dropping))",
                          "store.eq(filling | expected)"),
        "goes on": (READ, "m.d.sync += [filling.eq(bus.rlast), dropping.eq(~bus.rlast)]",
                    "m.d.sync += dropping.eq(~bus.rlast)"),
        "last": (READ, "depth=max(config.buffer_beats, 3)", "depth=config.buffer_beats"),
    }),
    Proof(name="AXI4 read master's errors", design=failing, bugs={
        "errors stay": (READ, "Mux(self.clear, 0, error) | causes", "causes"),
        "errors are told": (READ, "(bus.rresp == DECODE_ERROR)", "(bus.rresp == 1)"),
    }),
    Proof(name="AXI4-Lite slave", design=lite, bugs={
        "request stays": (LITE, "with m.If(self.o.ready):", "with m.If(1):"),
        "one at a time": (LITE, "with m.If(self.i.valid):", "with m.If(1):"),
        "write response stays": (LITE, "Mux(writing, bus.bready, bus.rready)", "bus.rready"),
        "read response stays": (LITE, "Mux(writing, bus.bready, bus.rready)", "bus.bready"),
        "b is owed": (LITE, "can_write = held[\"aw\"] & held[\"w\"]", "can_write = held[\"aw\"]"),
        "r is owed": (LITE, "~(held[\"ar\"] & writing)", "0"),
    }),
    Proof(name="Wishbone slave, classic", design=classic(WishboneConfig(address_bits=4)),
          bugs=WISHBONE_BUGS),
    Proof(name="Wishbone slave, pipelined",
          design=classic(WishboneConfig(address_bits=4, pipelined=True)), bugs=WISHBONE_BUGS),
    Proof(name="AXI4 read master's buffer", design=reserving, bugs={
        "room": (READ, "(free >= burst.length)", "(free >= burst.length - 1)"),
    }),
)
"""Every design, the quickest property first."""
