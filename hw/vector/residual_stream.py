# SPDX-License-Identifier: Apache-2.0
"""The residual stream of one token: kept, read for its norms, added to."""

from amaranth import *
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.stream_config import ResidualStreamConfig
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.vector.narrower import Narrower
from hw.vector.residual_add import ResidualAdd

__all__ = ["Action", "ResidualStream"]


class Action(enum.Enum, shape=unsigned(2)):
    """What to do with the vector."""

    LOAD = 0
    READ = 1
    ADD = 2


class ResidualStream(wiring.Component):
    """Words of one vector, `beats` beats of ``config.lanes``, in block RAM; or one for each token.

    ``LOAD`` makes them of scaled codes; ``READ`` gives them on ``o`` twice, as a quantiser wants
    them; ``ADD`` adds scaled sums in place, from wide beats.  Each goes at a beat a cycle; a
    command is accepted when it is done.  ``golden_model.vector.residual_stream`` states the cycles.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"action", "beats", "scale", "shift"})))`
        `scale` and `shift` as :class:`hw.vector.residual_add.ResidualAdd` takes them.  And
        ``token``, with ``config.batch`` above 1.
    i_codes : :py:`In(stream.Signature(ArrayLayout(signed(code_bits), lanes)))`
        Codes of the embedding.
    i_sums : :py:`In(stream.Signature(ArrayLayout(signed(sum_bits), width)))`
    o : :py:`Out(stream.Signature(StructLayout({"words": signed(24)[lanes], "last": 1})))`
        `last` at the end of each pass.
    """

    def __init__(self, config: ResidualStreamConfig):
        self.config = config
        words = data.ArrayLayout(signed(WORD_BITS), config.lanes)
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "action": Action, "beats": range(config.max_beats + 1), "scale": SMALL_FLOAT,
                "shift": signed(8),
                **({"token": range(config.batch)} if config.batch > 1 else {}),
            }))),
            "i_codes": In(stream.Signature(data.ArrayLayout(signed(config.code_bits),
                                                            config.lanes))),
            "i_sums": In(stream.Signature(data.ArrayLayout(signed(config.sum_bits),
                                                           config.width))),
            "o": Out(stream.Signature(data.StructLayout({"words": words, "last": 1}))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.narrower = narrower = Narrower(config.narrower)
        m.submodules.add = add = ResidualAdd(config.add)
        m.submodules.memory = vector = memory.Memory(shape=self.o.p.words.shape(),
                                                     depth=config.depth, init=[])
        read, write = vector.read_port(), vector.write_port()
        command, final = self.i_command.p, self.i_command.p.beats - 1
        load, reading, adding = (Signal(name=name.lower()) for name in Action.__members__)
        m.d.comb += [flag.eq(self.i_command.valid & (command.action == action))
                     for flag, action in zip((load, reading, adding), Action, strict=True)]

        # A command stands for two cycles at least, and no word is there in its first.
        narrow, gives, single = Signal(), Signal(), Signal()
        beats = Signal.like(command.beats, reset_less=True)
        m.d.sync += [narrow.eq(adding & ~self.i_command.ready), gives.eq(reading),
                     beats.eq(command.beats), single.eq(command.beats == 1)]
        address, second, asked = Signal(range(max(config.max_beats, 2))), Signal(), Signal()
        valid, last, end = Signal(), Signal(), Signal()
        advance = ~valid | Mux(narrow, narrower.o.valid & add.i.ready, self.o.ready)
        ask = (reading | adding) & ~asked & advance
        m.d.comb += [read.addr.eq(self.place(address)), read.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [valid.eq(ask), last.eq(address == final), end.eq(second)]
        coded = self.i_codes.valid & self.i_codes.ready
        with m.If(ask | coded):
            m.d.sync += address.eq(address + 1)
            with m.If(address == final):
                m.d.sync += [address.eq(0), second.eq(reading & ~second),
                             asked.eq(second | ~reading)]
        m.d.comb += [
            self.o.valid.eq(valid & gives), self.o.p.words.eq(read.data), self.o.p.last.eq(last),
        ]

        m.d.comb += [
            narrower.i_command.valid.eq(narrow), narrower.i_command.p.beats.eq(beats),
            narrower.i_command.p.single.eq(single),
            narrower.i.payload.eq(self.i_sums.payload), narrower.i.valid.eq(self.i_sums.valid),
            self.i_sums.ready.eq(narrower.i.ready),
            narrower.o.ready.eq(valid & narrow & add.i.ready),
            add.i.valid.eq(valid & narrow & narrower.o.valid | coded),
            # Where nothing is added codes may come.
            Value.cast(add.i.p.x).eq(Mux(narrow, Value.cast(read.data), 0)),
            *(to.eq(Mux(narrow, value, code)) for to, code, value in zip(
                add.i.p.y, self.i_codes.p, narrower.o.p.values, strict=True)),
            add.i.p.scale.eq(command.scale), add.i.p.shift.eq(command.shift),
            add.o.ready.eq(1), self.i_codes.ready.eq(load & ~asked),
        ]
        written, last_written = Signal.like(address), Signal.like(address, reset_less=True)
        m.d.sync += last_written.eq(final)   # nothing is written that soon
        m.d.comb += [
            write.en.eq(add.o.valid), write.addr.eq(self.place(written)),
            write.data.eq(add.o.payload),
            self.i_command.ready.eq(write.en & (written == last_written)
                                    | self.o.valid & self.o.ready & last & end),
        ]
        with m.If(write.en):
            m.d.sync += written.eq(Mux(written == last_written, 0, written + 1))
        with m.If(self.i_command.ready):
            m.d.sync += asked.eq(0)
        return m

    def place(self, beat):
        """Return the address of a beat of the command's token."""
        return Cat(beat, self.i_command.p.token) if self.config.batch > 1 else beat
