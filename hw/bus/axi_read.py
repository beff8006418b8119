# SPDX-License-Identifier: Apache-2.0
"""AXI4 read master: commands of any length in, their beats in order out."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.bus_config import AxiReadConfig

__all__ = ["AxiRead", "axi_read_signature", "beat_layout", "error_layout", "fetch_layout"]

INCREMENTING = 0b01
MODIFIABLE = 0b0011
"""AxCACHE: normal memory, not cached."""
SLAVE_ERROR, DECODE_ERROR = 2, 3

error_layout = data.StructLayout({"slave": 1, "decode": 1, "protocol": 1})
"""Causes of a fault: SLVERR, DECERR, and bursts of a wrong length or that nobody asked for."""


def axi_read_signature(config: AxiReadConfig):
    """Read channels of AXI4, as the master sees them."""
    return wiring.Signature({
        "arid": Out(config.id_bits), "araddr": Out(config.address_bits), "arlen": Out(8),
        "arsize": Out(3), "arburst": Out(2), "arcache": Out(4), "arprot": Out(3),
        "arvalid": Out(1), "arready": In(1),
        "rid": In(config.id_bits), "rdata": In(config.data_bits), "rresp": In(2), "rlast": In(1),
        "rvalid": In(1), "rready": Out(1),
    })


def fetch_layout(config: AxiReadConfig):
    """Byte address of the first beat, whose low bits are ignored, and beats, at least 1."""
    return data.StructLayout({"address": config.address_bits,
                              "beats": range(config.max_beats + 1)})


def beat_layout(config: AxiReadConfig):
    """One beat, and whether it is its command's last."""
    return data.StructLayout({"data": config.data_bits, "last": 1})


class AxiRead(wiring.Component):
    """Fetch beats with several bursts under way.

    A command becomes bursts that end at multiples of ``config.max_burst`` beats, so that none
    crosses 4 KiB.  A burst is asked for once the buffer has room for all of it, so `rready` only
    falls to repair a faulty one.  One burst can be asked for a cycle, ``config.request_latency``
    cycles after its command, and one beat taken a cycle, ``config.data_latency`` cycles after it
    came.  :mod:`golden_model.bus.axi_read_cycles` gives the cycle of every transfer.

    Whatever the memory answers, a command gives as many beats as it asked for: a beat with an error
    is passed on as it is, what is missing of a burst that ends early is filled with zeros, and what
    is too much of one that ends late is dropped.  Each sets `error`.

    Members
    -------
    i : :py:`In(stream.Signature(fetch_layout(config)))`
        `ready` depends on `m_axi.arready`.
    o : :py:`Out(stream.Signature(beat_layout(config)))`
    m_axi : :py:`Out(axi_read_signature(config))`
        No output depends on an input of the same cycle.
    stop : :py:`In(1)`
        A pulse drops all commands and beats; offers on ``o`` are withdrawn.  What was asked for is
        still awaited, and then dropped, before the next command is taken.
    draining : :py:`Out(1)`
        From the cycle after `stop` until every burst was answered.
    abandon : :py:`In(1)`
        While draining, gives up the bursts that were not answered, unless the memory has not even
        taken the last one's address.  Later bursts have another ID, by which late answers are
        told from theirs and dropped; ``2**config.id_bits`` times in a row are too many.
    error : :py:`Out(error_layout)`
        What went wrong since `clear`.
    error_address : :py:`Out(config.address_bits)`
        Burst that went wrong first; 0 if it was none of ours.
    fault : :py:`Out(error_layout)`
        Pulses, in the cycle in which `error` shows the same.
    clear : :py:`In(1)`
        Clears `error`; what goes wrong in the same cycle stays.
    busy : :py:`Out(1)`
        A command is being split, or a burst is under way.
    progress : :py:`Out(1)`
        The bus moved an address or a beat in the cycle before.
    """

    def __init__(self, config: AxiReadConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(fetch_layout(config))),
            "o": Out(stream.Signature(beat_layout(config))),
            "m_axi": Out(axi_read_signature(config)),
            "stop": In(1), "draining": Out(1), "abandon": In(1),
            "error": Out(error_layout), "error_address": Out(config.address_bits),
            "fault": Out(error_layout), "clear": In(1),
            "busy": Out(1), "progress": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        bus = self.m_axi
        length_bits = range(config.max_burst + 1)

        # The beats of the command that were not split off yet.
        index = Signal(config.address_bits - config.beat_shift, reset_less=True)
        left = Signal(range(config.max_beats + 1), reset_less=True)
        active = Signal()
        room = Signal(length_bits)  # beats to the next multiple of the longest burst
        final = Signal()
        m.d.comb += [
            room.eq(config.max_burst - index[:config.max_burst.bit_length() - 1]),
            final.eq(left <= room),
        ]

        # One burst that waits for room in the buffer.
        burst = Signal(data.StructLayout({"index": index.shape(), "length": length_bits,
                                          "final": 1}), reset_less=True)
        burst_valid, issue, split = Signal(), Signal(), Signal()
        halted = self.stop | self.draining
        m.d.comb += [
            split.eq(active & (~burst_valid | issue)),
            self.i.ready.eq(~halted & (~active | (split & final))),
        ]
        with m.If(issue):
            m.d.sync += burst_valid.eq(0)
        with m.If(split):
            m.d.sync += [
                burst.index.eq(index), burst.length.eq(Mux(final, left, room)),
                burst.final.eq(final), burst_valid.eq(1),
                index.eq(index + room), left.eq(left - room), active.eq(~final),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [index.eq(self.i.p.address[config.beat_shift:]), left.eq(self.i.p.beats),
                         active.eq(1)]
        with m.If(halted):
            m.d.sync += [active.eq(0), burst_valid.eq(0)]

        # Asking for it reserves its room.
        promise = data.StructLayout({"index": index.shape(), "last_beat": range(config.max_burst),
                                     "final": 1})
        forget = Signal()
        m.submodules.ledger = ledger = ResetInserter(forget)(
            fifo.SyncFIFO(width=promise.size, depth=config.outstanding))
        free = Signal(range(config.buffer_beats + 1), init=config.buffer_beats)
        taken = self.o.valid & self.o.ready
        promised = Signal(promise)
        m.d.comb += [
            issue.eq(burst_valid & ~halted & (free >= burst.length) & ledger.w_rdy
                     & (~bus.arvalid | bus.arready)),
            promised.index.eq(burst.index),
            promised.last_beat.eq(burst.length - 1),
            promised.final.eq(burst.final),
            ledger.w_data.eq(promised),
            ledger.w_en.eq(issue),
        ]
        m.d.sync += free.eq(Mux(self.draining, config.buffer_beats,
                                free + taken - Mux(issue, burst.length, 0)))
        m.d.comb += [
            bus.arsize.eq(config.beat_shift), bus.arburst.eq(INCREMENTING),
            bus.arcache.eq(MODIFIABLE),
        ]
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(issue):
            m.d.sync += [bus.arvalid.eq(1), bus.arlen.eq(promised.last_beat),
                         bus.araddr.eq(burst.index << config.beat_shift)]

        self.receive(m, ledger, promise)

        # Stopping: whatever was asked for comes first, or is given up.
        m.d.comb += forget.eq(self.draining & self.abandon & ~bus.arvalid)
        with m.If(forget):
            m.d.sync += bus.arid.eq(bus.arid + 1)
        with m.If(self.stop):
            m.d.sync += self.draining.eq(1)
        with m.Elif(~bus.arvalid & ~ledger.r_rdy):
            m.d.sync += self.draining.eq(0)
        m.d.comb += self.busy.eq(active | burst_valid | bus.arvalid | ledger.r_rdy)
        m.d.sync += self.progress.eq((bus.arvalid & bus.arready) | (bus.rvalid & bus.rready))

        return m

    def receive(self, m, ledger, promise):
        """Put beats into the buffer, as many as each burst has."""
        config, bus = self.config, self.m_axi
        # One of two places has no room for the second of two beats that come right after each other.
        m.submodules.buffer = buffer = ResetInserter(self.draining)(
            fifo.SyncFIFOBuffered(width=beat_layout(config).size,
                                  depth=max(config.buffer_beats, 3)))
        head = Signal(promise)
        position = Signal(range(config.max_burst))
        # A burst that ended early is filled up; of one that is late the rest is dropped.
        filling, dropping = Signal(), Signal()
        ours, expected, store, done, ends = (Signal(name=name) for name in
                                             ("ours", "expected", "store", "done", "ends"))
        m.d.comb += [
            head.eq(ledger.r_data),
            bus.rready.eq(~filling),
            ours.eq(bus.rvalid & bus.rready & (bus.rid == bus.arid)),
            expected.eq(ours & ledger.r_rdy),
            ends.eq(position == head.last_beat),
            store.eq(filling | (expected & ~dropping)),
            done.eq(Mux(filling, ends, expected & bus.rlast & (ends | dropping))),
            ledger.r_en.eq(done),
        ]
        fault = Signal(error_layout)
        m.d.comb += [
            fault.slave.eq(ours & (bus.rresp == SLAVE_ERROR)),
            fault.decode.eq(ours & (bus.rresp == DECODE_ERROR)),
            fault.protocol.eq((ours & ~expected) | (expected & ~dropping & (bus.rlast ^ ends))),
        ]
        with m.If(expected & ~dropping & (bus.rlast ^ ends)):
            m.d.sync += [filling.eq(bus.rlast), dropping.eq(~bus.rlast)]
        with m.If(store & ~ends):
            m.d.sync += position.eq(position + 1)
        with m.If(done):
            m.d.sync += [position.eq(0), filling.eq(0), dropping.eq(0)]
        with m.If(self.draining & self.abandon & ~bus.arvalid):
            m.d.sync += [position.eq(0), filling.eq(0), dropping.eq(0)]

        beat = Signal(beat_layout(config))
        m.d.comb += [
            beat.data.eq(Mux(filling, 0, bus.rdata)),
            beat.last.eq(head.final & ends),
            buffer.w_data.eq(beat),
            buffer.w_en.eq(store),
            self.o.payload.eq(buffer.r_data),
            self.o.valid.eq(buffer.r_rdy & ~self.draining),
            buffer.r_en.eq(self.o.ready & ~self.draining),
        ]
        m.d.sync += self.fault.eq(fault)
        error, causes = Value.cast(self.error), Value.cast(fault)
        m.d.sync += error.eq(Mux(self.clear, 0, error) | causes)
        with m.If(causes.any() & (self.clear | ~error.any())):
            m.d.sync += self.error_address.eq(
                Mux(expected, head.index << config.beat_shift, 0))
