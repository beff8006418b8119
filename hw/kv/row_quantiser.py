# SPDX-License-Identifier: Apache-2.0
"""Codes and scale of one head's query, key or value."""

from amaranth import *
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.formats import KV_SCALE_BIAS, KV_SCALE_FRACTION_BITS
from golden_model.kv_row_config import RowQuantiserConfig
from golden_model.quant_config import MANTISSA_BITS
from hw.quant.multiplier import Multiplier
from hw.quant.rounding_shifter import RoundingShifter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["SCALE", "RowFormat", "RowQuantiser", "command_layout"]

SCALE = data.StructLayout({"scale": SMALL_FLOAT, "kv": 16})
"""A head's scale, and the same rounded to a KV scale, which is what a row is stored with."""


class RowFormat(enum.Enum, shape=unsigned(2)):
    """Code of a head: signed absmax of a query; mid-rise or symmetric of a key or value."""

    QUERY = 0
    MIDRISE = 1
    SYMMETRIC = 2


def command_layout(config: RowQuantiserConfig):
    """Payload of ``i_command``: what the next head is."""
    return data.StructLayout({
        "n": range(config.max_n + 1), "format": RowFormat, "bits": range(config.code_bits + 1),
        "scale": SMALL_FLOAT,
    })


def kv_scale(scale):
    """KV scale nearest to a small float, ties to even, saturated; what is too small is zero."""
    dropped = MANTISSA_BITS - 1 - KV_SCALE_FRACTION_BITS
    mantissa = scale.m[dropped:-1]
    up = scale.m[dropped - 1] & (scale.m[:dropped - 1].any() | scale.m[dropped])
    # Rounding up carries into the exponent by itself.
    code = Cat(mantissa, scale.e + (KV_SCALE_BIAS + dropped)).as_signed() + up
    return Mux((code < 0) | ~scale.m[-1], 0, Mux(code > 0xFFFF, 0xFFFF, code[:16]))


class RowQuantiser(wiring.Component):
    """Codes of ``x`` against its largest magnitude: section 7 of the numerics.

    A head's words stream in once, into one of two buffers, while the largest magnitude is taken;
    so the next head comes in while this one is coded.  The small-float unit divides the levels by
    that magnitude, the codes leave at a beat a cycle, and beside them two more operations make the
    scale.  A code needs no saturation: rounding errors of the ratio are far below half a code.

    Heads of one length take ``config.interval`` cycles each: those of the three operations, 70, if
    ``lanes`` is at least ``n / 32``.  :mod:`golden_model.kv.row_quantiser` gives the cycle of every
    transfer.  ``i_command``, ``i`` and ``o_scale`` are registered; a response of the unit is always
    taken at once.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        `n` words, at least 1, of this `scale`; codes of `bits`, at least 2.
    i : :py:`In(stream.Signature(ArrayLayout(signed(24), config.lanes)))`
        ``ceil(n / lanes)`` beats; lanes past `n` are ignored.
    o : :py:`Out(stream.Signature(StructLayout({"codes": signed(code_bits + 1)[P], "last": 1})))`
        Signed codes of a query; 0 up to ``2**bits - 1`` of keys and values.  Lanes past `n` mean
        nothing.
    o_scale : :py:`Out(stream.Signature(SCALE))`
        One a head, after its codes: of a query's code, or of a step of a key or value.
    o_request, i_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`, which may serve others in
        between.
    """

    def __init__(self, config: RowQuantiserConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.lanes))),
            "o": Out(stream.Signature(data.StructLayout({
                "codes": data.ArrayLayout(signed(config.code_bits + 1), config.lanes), "last": 1,
            }))),
            "o_scale": Out(stream.Signature(SCALE)),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        kind = Signal(self.i_command.p.shape(), reset_less=True)  # of the head that comes in
        peak = Signal(SMALL_FLOAT, reset_less=True)
        ready, take, start, coding, coded = (Signal(name=name) for name in (
            "ready", "take", "start", "coding", "coded"))
        held = Signal(range(3))  # heads whose words are kept
        command = self.i_command.valid & self.i_command.ready
        m.d.sync += held.eq(held + command - coded)

        m.submodules.words = words = memory.Memory(shape=self.i.payload.shape(), init=[],
                                                   depth=2 << (config.max_beats - 1).bit_length())
        self.load(m, words.write_port(), kind, peak, ready, take, held == 2)
        head, ratio = self.divide(m, kind, peak, ready, take, start, ~coding)
        self.encode(m, words.read_port(), head, ratio, start, coding, coded)
        return m

    def load(self, m, write, kind, peak, ready, take, full):
        """Store a head's words and find the small float of its largest magnitude."""
        config = self.config
        left, beat = Signal(range(config.max_n + 1)), Signal(range(config.max_beats))
        bank, wait = Signal(), Signal(range(config.peak_latency - 1))
        accepted = self.i.valid & self.i.ready
        m.d.comb += [write.addr.eq(Cat(beat, bank)), write.en.eq(accepted),
                     write.data.eq(self.i.payload)]

        values = [Signal(WORD_BITS, name=f"magnitude_{lane}", reset_less=True)
                  for lane in range(config.lanes)]
        for lane, value in enumerate(values):
            x = self.i.payload[lane]
            m.d.sync += value.eq(((x ^ x[-1].replicate(WORD_BITS)) + x[-1])
                                 & (left > lane).replicate(WORD_BITS))
        valid = Signal()
        m.d.sync += valid.eq(accepted)
        for level in range(config.tree_levels):
            held = [Signal(WORD_BITS, name=f"peak_{level}_{n}", reset_less=True)
                    for n in range((len(values) + 1) // 2)]
            pairs = [Mux(a > b, a, b) for a, b in zip(values[0::2], values[1::2])]
            m.d.sync += [to.eq(value) for to, value in zip(held, pairs + values[len(values) & ~1:])]
            after = Signal(name=f"valid_{level}")
            m.d.sync += after.eq(valid)
            values, valid = held, after

        # The largest magnitude, then moved up until its top bit is set.
        top, exponent = Signal(WORD_BITS, reset_less=True), Signal(signed(6), reset_less=True)
        with m.If(valid & (values[0] > top)):
            m.d.sync += top.eq(values[0])
        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += self.i_command.ready.eq(~full)
                m.d.sync += [kind.eq(self.i_command.payload), left.eq(self.i_command.p.n),
                             beat.eq(0), top.eq(0), exponent.eq(WORD_BITS - MANTISSA_BITS)]
                with m.If(self.i_command.valid & self.i_command.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += wait.eq(config.peak_latency - 2)
                with m.If(accepted):
                    m.d.sync += [left.eq(left - config.lanes), beat.eq(beat + 1)]
                    with m.If(left <= config.lanes):
                        m.d.sync += bank.eq(~bank)
                        m.next = "PEAK"
            with m.State("PEAK"):
                m.d.sync += wait.eq(wait - 1)
                # Two cycles by bytes, seven by bits, one that rounds.
                with m.If((wait <= 9) & (wait > 7) & ~top[16:].any()):
                    m.d.sync += [top.eq(top << 8), exponent.eq(exponent - 8)]
                with m.If((wait <= 7) & ~top[-1]):
                    m.d.sync += [top.eq(top << 1), exponent.eq(exponent - 1)]
                with m.If(wait == 0):
                    dropped = WORD_BITS - MANTISSA_BITS
                    rounded = top[dropped:] + (top[dropped - 1]
                                               & (top[:dropped - 1].any() | top[dropped]))
                    carry = rounded[MANTISSA_BITS]
                    m.d.sync += [peak.m.eq(Cat(rounded[:15], rounded[15] | carry)),
                                 peak.e.eq(Mux(top[-1], exponent + carry, 0))]
                    m.next = "READY"
            with m.State("READY"):
                m.d.comb += ready.eq(1)
                with m.If(take):
                    m.next = "COMMAND"

    def divide(self, m, kind, peak, ready, take, start, idle):
        """Run one head's three operations; return the head and its ratio as of `start` on."""
        request, response = self.o_request, self.i_response
        head = Signal(kind.shape(), reset_less=True)
        left, ratio, scale = (Signal(SMALL_FLOAT, name=name, reset_less=True)
                              for name in ("left", "ratio", "scale"))
        step = Signal(range(3))
        query = head.format == RowFormat.QUERY
        ones, most = Signal.like(head.bits), Signal(SMALL_FLOAT)  # the largest step or query code
        m.d.comb += [
            ones.eq(head.bits - (head.format != RowFormat.MIDRISE)),
            most.m.eq(Cat(ones > MANTISSA_BITS - 1 - bit for bit in range(MANTISSA_BITS))),
            most.e.eq(ones - MANTISSA_BITS),
            request.p.operation.eq(Operation.DIV), request.p.a.eq(left), request.p.b.eq(most),
        ]
        with m.If(step == 0):
            m.d.comb += [request.p.a.eq(most), request.p.b.eq(left)]
        with m.Elif((step == 2) == query):
            m.d.comb += [request.p.operation.eq(Operation.MUL), request.p.b.eq(head.scale)]

        m.d.comb += [self.o_scale.p.scale.eq(scale), self.o_scale.p.kv.eq(kv_scale(scale))]
        with m.If(self.o_scale.ready):
            m.d.sync += self.o_scale.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += take.eq(ready)
                with m.If(ready):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                # The ratio and the scale must find their registers free.
                m.d.comb += request.valid.eq(Mux(step == 0, idle,
                                                 (step == 1) | ~self.o_scale.valid))
                with m.If(request.valid & request.ready):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += response.ready.eq(1)
                with m.If(response.valid):
                    m.d.sync += step.eq(step + 1)
                    m.next = "ISSUE"
                    with m.Switch(step):
                        with m.Case(0):
                            m.d.comb += start.eq(1)
                            m.d.sync += ratio.eq(response.payload)
                        with m.Case(1):
                            m.d.sync += left.eq(response.payload)
                        with m.Default():
                            m.d.comb += take.eq(ready)
                            m.d.sync += [scale.eq(response.payload), self.o_scale.valid.eq(1)]
                            with m.If(~ready):
                                m.next = "IDLE"
        with m.If(take):
            m.d.sync += [head.eq(kind), left.eq(peak), step.eq(0)]
        return head, ratio

    def encode(self, m, read, head, ratio, start, coding, coded):
        """Send a head's codes from `start` on; `coded` is its last word's reading."""
        config = self.config
        advance = ~self.o.valid | self.o.ready
        left, beat, bank = (Signal(range(config.max_n + 1)), Signal(range(config.max_beats)),
                            Signal())
        kind = Signal(head.shape(), reset_less=True)
        reading = Signal()
        with m.If(start):
            m.d.sync += [kind.eq(head), left.eq(head.n), beat.eq(0), reading.eq(1)]
        last = left <= config.lanes
        m.d.comb += [read.addr.eq(Cat(beat, bank)), read.en.eq(advance),
                     coded.eq(reading & last & advance)]
        with m.If(reading & advance):
            m.d.sync += [left.eq(left - config.lanes), beat.eq(beat + 1)]
            with m.If(last):
                m.d.sync += [reading.eq(0), bank.eq(~bank)]

        valid, ends = Signal(config.latency), Signal(config.latency)
        m.d.comb += [coding.eq(reading | valid.any()), self.o.valid.eq(valid[-1]),
                     self.o.p.last.eq(ends[-1])]
        with m.If(advance):
            m.d.sync += [valid.eq(Cat(reading, valid)), ends.eq(Cat(last, ends))]

        # The levels over a magnitude are no more than the levels: the exponent is negative.
        midrise = kind.format == RowFormat.MIDRISE
        places, offset = Signal(7), Signal(config.code_bits)
        m.d.sync += [
            places.eq((midrise - ratio.e - config.shifter.fraction_bits)[:6]),
            offset.eq(Mux(kind.format == RowFormat.QUERY, 0, (1 << kind.bits >> 1) - midrise)),
        ]
        for lane in range(config.lanes):
            m.submodules[f"multiplier_{lane}"] = multiplier = Multiplier(config.multiplier)
            m.submodules[f"shifter_{lane}"] = shifter = RoundingShifter(config.shifter)
            m.d.comb += [
                multiplier.advance.eq(advance), multiplier.a.eq(read.data[lane]),
                multiplier.b.eq(ratio.m),
                shifter.advance.eq(advance), shifter.value.eq(multiplier.product),
                shifter.places.eq(places),
            ]
            odd, some = shifter.window[0], shifter.half | shifter.sticky
            # Mid-rise: half of the levels, which is an odd integer and a half, is added ahead of
            # rounding, so that ties are the integers and the odd ones of them go down.
            up = Mux(midrise, ~odd | some, shifter.half & (shifter.sticky | odd))
            total = Cat(C(1, 1), shifter.window).as_signed() + Cat(up, offset)
            with m.If(advance):
                m.d.sync += self.o.p.codes[lane].eq(total[1:].as_signed())
