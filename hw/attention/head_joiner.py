# SPDX-License-Identifier: Apache-2.0
"""Heads join on one scale: words of a whole vector out of sums of single heads."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.head_joiner_config import HeadJoinerConfig
from golden_model.quant_config import EXPONENT_BITS, MANTISSA_BITS
from hw.quant.scale_lanes import SMALL_FLOAT, ScaleLanes

__all__ = ["HeadJoiner", "command_layout", "sums_layout"]

SHIFT_BITS = 6
NO_EXPONENT = -(1 << EXPONENT_BITS - 1)


def command_layout(config: HeadJoinerConfig):
    """Payload of ``i_command``: the next vector."""
    return data.StructLayout({
        "heads": range(config.max_heads + 1), "beats": range(config.max_beats + 1),
        "shift": SHIFT_BITS, "passes": 2,
    })


def sums_layout(config: HeadJoinerConfig):
    """Payload of ``i``."""
    return data.StructLayout({
        "sums": data.ArrayLayout(signed(config.sum_bits), config.lanes), "last": 1,
    })


class HeadJoiner(wiring.Component):
    """``O_hi * s_h`` of all heads as words of one power of two, rounded and saturated: section 8.

    All scales of a token are waited for, so that the largest exponent ``E`` is known.  Then words
    leave at a beat a cycle as far as sums have come, which are kept meanwhile: the first
    ``config.latency`` cycles after the last scale, the last ``config.latency - 1`` after the last
    sums, if these are later; and all of them as often as the command says: a quantiser wants them
    twice.  They are ``O_hi * s_h / 2**(E + shift)``, of the scale ``2**(E + shift)``; if all scales
    are zero, so are words and scale.  One vector at a time: the next command is accepted when all
    words were read and the scale was taken.  :mod:`golden_model.attention.head_joiner` states every
    cycle.

    ``i``, ``i_scale`` and ``o_scale`` are registered.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        `heads` of `beats` beats each, at least 1; head_dim must be a multiple of ``config.lanes``
        where there are several heads.  `shift`: Z, which keeps the largest sum within a word.
        `passes`, 1 to 3.
    i : :py:`In(stream.Signature(sums_layout(config)))`
        Sums, head after head; `last`, a head's end, is not looked at.
    i_scale : :py:`In(stream.Signature(SMALL_FLOAT))`
        One a head, ahead of its sums or behind them.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(24), config.lanes)))`
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        One a vector, offered one cycle before the first words are read.
    """

    def __init__(self, config: HeadJoinerConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(stream.Signature(sums_layout(config))),
            "i_scale": In(stream.Signature(SMALL_FLOAT)),
            "o": Out(stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.lanes))),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.lanes = lanes = ScaleLanes(config.scale)
        m.submodules.sums = sums = memory.Memory(shape=self.i.p.sums.shape(),
                                                 depth=config.max_beats, init=[])
        m.submodules.scales = scales = memory.Memory(shape=SMALL_FLOAT, depth=config.max_heads,
                                                     init=[])
        command = Signal(self.i_command.p.shape(), reset_less=True)
        address, count = Signal(range(config.max_beats)), Signal(range(config.max_beats + 1))
        scale_head, passes = Signal(range(config.max_heads + 1)), Signal(2)
        top, place = (Signal(signed(EXPONENT_BITS), name="top"),
                      Signal(signed(EXPONENT_BITS + 2), name="place", reset_less=True))
        some, waiting = Signal(), Signal()  # `waiting`: a beat was read
        idle, loading, moves = Signal(), Signal(), Signal()
        _, load_ends = self.walk(m, command, idle, sums_in := Signal(), "in")
        head, ends = self.walk(m, command, idle, moves, "out")

        write, scales_in = sums.write_port(), scales.write_port()
        sums_out, scales_out = sums.read_port(), scales.read_port()
        m.d.comb += [
            self.i.ready.eq(loading), sums_in.eq(self.i.valid & loading),
            write.addr.eq(count), write.data.eq(self.i.p.sums), write.en.eq(sums_in),
            scales_in.addr.eq(scale_head), scales_in.data.eq(self.i_scale.payload),
            scales_in.en.eq(self.i_scale.valid & self.i_scale.ready),
            sums_out.addr.eq(address), scales_out.addr.eq(head),
            lanes.i.p.y.eq(sums_out.data), lanes.i.p.scale.eq(scales_out.data),
            lanes.i.p.shift.eq(-place), lanes.i.valid.eq(waiting),
        ]
        wiring.connect(m, lanes.o, wiring.flipped(self.o))
        with m.If(sums_in):
            m.d.sync += count.eq(count + 1)
            with m.If(load_ends):
                m.d.sync += loading.eq(0)
        with m.If(scales_in.en):
            m.d.sync += scale_head.eq(scale_head + 1)
            with m.If(self.i_scale.p.m.any()):
                m.d.sync += some.eq(1)
                with m.If(self.i_scale.p.e > top):
                    m.d.sync += top.eq(self.i_scale.p.e)
        with m.If(moves):
            m.d.sync += address.eq(Mux(ends, 0, address + 1))

        free = ~waiting | lanes.i.ready
        m.d.comb += [sums_out.en.eq(free), scales_out.en.eq(free)]
        with m.If(free):
            m.d.sync += waiting.eq(moves)
        with m.If(self.o_scale.ready):
            m.d.sync += self.o_scale.valid.eq(0)
        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += [self.i_command.ready.eq(~self.o_scale.valid), idle.eq(1)]
                with m.If(self.i_command.valid & self.i_command.ready):
                    m.d.sync += [command.eq(self.i_command.payload),
                                 passes.eq(self.i_command.p.passes), loading.eq(1),
                                 count.eq(0), scale_head.eq(0), top.eq(NO_EXPONENT), some.eq(0)]
                    m.next = "SCALES"
            with m.State("SCALES"):
                scaled = scale_head == command.heads
                m.d.comb += self.i_scale.ready.eq(~scaled)
                # A beat of the vector before may still wait for its turn, with its place.
                with m.If(scaled & ~waiting):
                    m.d.sync += [place.eq(self.place(top, command.shift)), self.o_scale.valid.eq(1)]
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += moves.eq(free & (address < count))
                with m.If(moves & ends):
                    m.d.sync += passes.eq(passes - 1)
                    with m.If(passes == 1):
                        m.next = "COMMAND"

        # 2**place is 2**15 * 2**(place - 15).
        power = Signal(signed(EXPONENT_BITS + 3))
        m.d.comb += [power.eq(place - (MANTISSA_BITS - 1)), self.o_scale.p.m.eq(1 << 15),
                     self.o_scale.p.e.eq(power)]
        with m.If(power > 127):
            m.d.comb += [self.o_scale.p.m.eq(0xFFFF), self.o_scale.p.e.eq(127)]
        with m.If((power < -128) | ~some):
            m.d.comb += [self.o_scale.p.m.eq(0), self.o_scale.p.e.eq(0)]
        return m

    @staticmethod
    def walk(m, command, idle, moves, name):
        """Go through a vector's beats; return the head, and whether the beat is the last one."""
        beat = Signal(range(1 << len(command.beats)), name=f"{name}_beat")
        head = Signal(range(1 << len(command.heads)), name=f"{name}_head")
        last_beat = beat == command.beats - 1
        ends = last_beat & (head == command.heads - 1)
        with m.If(moves):
            m.d.sync += beat.eq(beat + 1)
            with m.If(last_beat):
                m.d.sync += [beat.eq(0), head.eq(Mux(ends, 0, head + 1))]
        with m.If(idle):
            m.d.sync += [beat.eq(0), head.eq(0)]
        return head, ends

    @staticmethod
    def place(top, shift):
        """Return the exponent of the common scale."""
        return top + shift
