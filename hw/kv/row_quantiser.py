# SPDX-License-Identifier: Apache-2.0
"""Codes and scale of one head's query, key or value."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.formats import KV_ZERO_BITS
from golden_model.kv_row_config import RowQuantiserConfig
from golden_model.quant_config import MANTISSA_BITS
from hw.kv.layouts import ROW_SCALE, RowFormat, kv_scale
from hw.quant.multiplier import Multiplier
from hw.quant.quick_float_unit import QuickFloatUnit
from hw.quant.rounding_shifter import RoundingShifter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import Operation

__all__ = ["RowFormat", "RowQuantiser", "command_layout"]

def command_layout(config: RowQuantiserConfig):
    """Payload of ``i_command``: what the next head is."""
    return data.StructLayout({
        "n": range(config.max_n + 1), "format": RowFormat, "bits": range(config.code_bits + 1),
        "scale": SMALL_FLOAT,
    })


def largest_code(config, kind):
    """Return the largest step of a key or value, or code of a query, as a small float."""
    ones, most = Signal.like(kind.bits), Signal(SMALL_FLOAT)
    signed_code = kind.format != RowFormat.MIDRISE
    if config.minmax:
        signed_code &= kind.format != RowFormat.MINMAX
    return most, [
        ones.eq(kind.bits - signed_code),
        most.m.eq(Cat(ones > MANTISSA_BITS - 1 - bit for bit in range(MANTISSA_BITS))),
        most.e.eq(ones - MANTISSA_BITS),
    ]


class RowQuantiser(wiring.Component):
    """Codes of ``x`` against its largest magnitude: section 7 of the numerics.

    Three heads are in work at once.  One's words stream in, into one of ``config.buffers`` buffers,
    while its largest magnitude is taken.  The levels are divided by that of the next, beside which
    its scale is made.  The third's codes leave at a beat a cycle.  A code needs no saturation:
    rounding errors of the ratio are far below half a code.

    With ``config.minmax`` a head's range may also be that from its least word to its largest, both
    taken with zero; its zero point is made between ratio and codes, which are limited, as both
    roundings may go up.  Scales are then made beside the codes.

    Heads of one length take ``config.interval`` cycles each, and one alone ``config.head_latency``
    from its last word to its first codes; the quick small-float units of the ratio and of the scale
    are its own.  :mod:`golden_model.kv.row_quantiser` gives the cycle of every transfer.
    ``i_command``, ``i`` and ``o_scale`` are registered.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        `n` words, at least 1, of this `scale`; codes of `bits`, at least 2.
    i : :py:`In(stream.Signature(ArrayLayout(signed(24), config.lanes)))`
        ``ceil(n / lanes)`` beats; lanes past `n` are ignored.
    o : :py:`Out(stream.Signature(StructLayout({"codes": signed(code_bits + 1)[P], "last": 1})))`
        Signed codes of a query; 0 up to ``2**bits - 1`` of keys and values.  Lanes past `n` mean
        nothing.
    o_scale : :py:`Out(stream.Signature(ROW_SCALE))`
        One a head, in the order of the codes: of a query's code, or of a step of a key or value.
    """

    def __init__(self, config: RowQuantiserConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.lanes))),
            "o": Out(stream.Signature(data.StructLayout({
                "codes": data.ArrayLayout(signed(config.code_bits + 1), config.lanes), "last": 1,
            }))),
            "o_scale": Out(stream.Signature(ROW_SCALE)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        kind = Signal(self.i_command.p.shape(), reset_less=True)  # of the head that comes in
        top = Signal(WORD_BITS, reset_less=True)
        if config.minmax:
            # The magnitude of its least word, if negative; of the head that is divided next the
            # ratio and the zero point, and the latter of the one that is coded.
            self.lowest = Signal(WORD_BITS, reset_less=True)
            self.quotient = Signal(SMALL_FLOAT, reset_less=True)
            self.found, self.zero = (Signal(KV_ZERO_BITS, name=name) for name in ("found", "zero"))
        ready, take, start, coding, scaling, peaked = (Signal(name=name) for name in (
            "ready", "take", "start", "coding", "scaling", "peaked"))

        m.submodules.words = words = memory.Memory(
            shape=self.i.payload.shape(), init=[],
            depth=config.buffers << (config.max_beats - 1).bit_length())
        self.load(m, words.write_port(), kind, top, ready, take)
        head, peak, ratio = self.divide(m, kind, top, ready, take, start, coding, scaling, peaked)
        self.scale(m, head, peak, start if config.minmax else peaked, scaling)
        self.encode(m, words.read_port(), head, ratio, start, coding)
        return m

    def load(self, m, write, kind, top, ready, take):
        """Store a head's words and find its largest magnitude."""
        config = self.config
        left, beat = Signal(range(config.max_n + 1)), Signal(range(config.max_beats))
        bank = Signal(range(config.buffers))
        wait = Signal(range(max(2, config.peak_latency - 1)))
        accepted = self.i.valid & self.i.ready
        m.d.comb += [write.addr.eq(Cat(beat, bank)), write.en.eq(accepted),
                     write.data.eq(self.i.payload)]

        # Largest magnitudes: of all words, or apart of those below zero and the others.
        most = {"": top} if not config.minmax else {
            "_above": Signal(WORD_BITS, name="highest", reset_less=True), "_below": self.lowest}
        trees = {name: [Signal(WORD_BITS, name=f"magnitude_{lane}{name}", reset_less=True)
                        for lane in range(config.lanes)] for name in most}
        for name, values in trees.items():
            for lane, value in enumerate(values):
                x = self.i.payload[lane]
                counts = left > lane
                if name:
                    counts &= x[-1] if name == "_below" else ~x[-1]
                m.d.sync += value.eq(((x ^ x[-1].replicate(WORD_BITS)) + x[-1])
                                     & counts.replicate(WORD_BITS))
        valid = Signal()
        m.d.sync += valid.eq(accepted)
        for level in range(config.tree_levels):
            for name, values in trees.items():
                held = [Signal(WORD_BITS, name=f"peak_{level}_{n}{name}", reset_less=True)
                        for n in range((len(values) + 1) // 2)]
                pairs = [Mux(a > b, a, b) for a, b in zip(values[0::2], values[1::2])]
                m.d.sync += [to.eq(value) for to, value in zip(
                    held, pairs + values[len(values) & ~1:])]
                trees[name] = held
            after = Signal(name=f"valid_{level}")
            m.d.sync += after.eq(valid)
            valid = after
        for name, found in most.items():
            with m.If(valid & (trees[name][0] > found)):
                m.d.sync += found.eq(trees[name][0])
        if config.minmax:
            high, low = most.values()
            m.d.sync += top.eq(Mux(kind.format == RowFormat.MINMAX, high + low,
                                   Mux(high > low, high, low)))

        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += self.i_command.ready.eq(1)
                m.d.sync += [kind.eq(self.i_command.payload), left.eq(self.i_command.p.n),
                             beat.eq(0), *(found.eq(0) for found in most.values())]
                with m.If(self.i_command.valid):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += wait.eq(config.peak_latency - 2)
                with m.If(accepted):
                    m.d.sync += [left.eq(left - config.lanes), beat.eq(beat + 1)]
                    with m.If(left <= config.lanes):
                        m.d.sync += bank.eq(bank + 1)
                        m.next = "PEAK"
            with m.State("PEAK"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "READY"
            with m.State("READY"):
                m.d.comb += ready.eq(1)
                with m.If(take):
                    m.next = "COMMAND"

    def divide(self, m, kind, top, ready, take, start, coding, scaling, peaked):
        """Divide the levels by the peak; return head, peak and ratio, as of and after `start`.

        The peak is what comes in the cycle of `peaked`, in which a scale is begun.
        """
        config = self.config
        free = ~coding & ~scaling if config.minmax else ~coding
        m.submodules.ratio = unit = QuickFloatUnit(config.ratio_unit)
        head = Signal(kind.shape(), reset_less=True)
        peak, ratio = (Signal(SMALL_FLOAT, name=name, reset_less=True)
                       for name in ("peak", "ratio"))
        most, statements = largest_code(config, head)
        m.d.comb += [*statements, unit.i.p.n.eq(top), unit.i.p.a.eq(most), unit.i.p.b.eq(peak)]
        made = self.find_zero(m, take, unit.o) if config.minmax else None
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [unit.i.valid.eq(ready), take.eq(ready & unit.i.ready),
                             unit.i.p.operation.eq(Operation.FROM_INT)]
                m.d.sync += head.eq(kind)
                with m.If(take):
                    m.next = "PEAK"
            with m.State("PEAK"):
                m.d.comb += [unit.o.ready.eq(1 if config.minmax else ~scaling),
                             peaked.eq(unit.o.valid & unit.o.ready)]
                m.d.sync += peak.eq(unit.o.p)
                with m.If(peaked):
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.comb += [unit.i.valid.eq(1), unit.i.p.operation.eq(Operation.DIV)]
                m.next = "RATIO"
            if config.minmax:
                with m.State("RATIO"):
                    m.d.comb += unit.o.ready.eq(1)
                    with m.If(unit.o.valid):
                        m.next = "ZERO"
                with m.State("ZERO"):
                    m.d.comb += start.eq(made & free)
                    with m.If(start):
                        m.d.sync += [ratio.eq(self.quotient), self.zero.eq(self.found)]
                        m.next = "IDLE"
            else:
                with m.State("RATIO"):
                    m.d.comb += [unit.o.ready.eq(free), start.eq(unit.o.valid & free)]
                    with m.If(start):
                        m.d.sync += ratio.eq(unit.o.p)
                        m.next = "IDLE"
        return head, peak if config.minmax else unit.o.p, ratio

    def find_zero(self, m, take, ratio):
        """Multiply a head's least word by its ratio; return whether that is done."""
        config = self.config
        latency = config.multiplier.latency + config.shifter.latency
        lowest, left = Signal(signed(WORD_BITS), reset_less=True), Signal(range(latency + 1))
        m.submodules.zero_multiplier = multiplier = Multiplier(config.multiplier)
        m.submodules.zero_shifter = shifter = RoundingShifter(config.shifter)
        quotient, rounded = self.quotient, Signal(KV_ZERO_BITS)
        with m.If(take):
            m.d.sync += lowest.eq(-self.lowest)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(ratio.valid & ratio.ready):
            m.d.sync += [quotient.eq(ratio.p), left.eq(latency)]
        m.d.comb += [
            multiplier.advance.eq(1), multiplier.a.eq(lowest), multiplier.b.eq(quotient.m),
            shifter.advance.eq(1), shifter.value.eq(multiplier.product),
            shifter.places.eq((-quotient.e - config.shifter.fraction_bits)[:6]),
            rounded.eq(shifter.window + (shifter.half & (shifter.sticky | shifter.window[0]))),
            self.found.eq(-rounded),
        ]
        return left == 0

    def scale(self, m, head, peak, start, scaling):
        """Make a head's scale from `start` on; a query's peak is divided first, a row's last."""
        m.submodules.scale = unit = QuickFloatUnit(self.config.scale_unit)
        kind, value = Signal(head.shape(), reset_less=True), Signal(SMALL_FLOAT, reset_less=True)
        second, last = Signal(), Signal()
        free = ~self.o_scale.valid | self.o_scale.ready
        most, statements = largest_code(self.config, kind)
        stored = kv_scale(self.o_scale.p.scale)
        if self.config.minmax:
            minmax, zero = Signal(), Signal(KV_ZERO_BITS, name="stored_zero")
            coarse = Cat(zero, kv_scale(self.o_scale.p.scale, KV_ZERO_BITS))
            stored = Mux(minmax, coarse, stored)
            with m.If(last):
                m.d.sync += [minmax.eq(kind.format == RowFormat.MINMAX), zero.eq(self.zero)]
        m.d.comb += [*statements, self.o_scale.p.kv.eq(stored), unit.i.p.a.eq(value),
                     # Means nothing here, but Icarus leaves constant parts of a payload unknown.
                     unit.i.p.n.eq(value.m)]
        with m.If(second == (kind.format == RowFormat.QUERY)):
            m.d.comb += [unit.i.p.operation.eq(Operation.MUL), unit.i.p.b.eq(kind.scale)]
        with m.Else():
            m.d.comb += [unit.i.p.operation.eq(Operation.DIV), unit.i.p.b.eq(most)]
        with m.If(self.o_scale.ready):
            m.d.sync += self.o_scale.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(start):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [unit.i.valid.eq(1), scaling.eq(1)]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += [unit.o.ready.eq(~second | free), scaling.eq(~last),
                             last.eq(second & unit.o.valid & free)]
                with m.If(unit.o.valid & unit.o.ready):
                    m.d.sync += [second.eq(~second), value.eq(unit.o.p)]
                    m.next = "ASK"
                with m.If(last):
                    m.d.sync += [self.o_scale.valid.eq(1), self.o_scale.p.scale.eq(unit.o.p)]
                    m.next = "IDLE"
                    with m.If(start):
                        m.next = "ASK"
        with m.If(start):
            m.d.sync += [kind.eq(head), value.eq(peak)]

    def encode(self, m, read, head, ratio, start, coding):
        """Send a head's codes from `start` on."""
        config = self.config
        advance = ~self.o.valid | self.o.ready
        left, beat = Signal(range(config.max_n + 1)), Signal(range(config.max_beats))
        bank, kind = Signal(range(config.buffers)), Signal(head.shape(), reset_less=True)
        reading = Signal()
        last = left <= config.lanes
        with m.If(reading & advance):
            m.d.sync += [left.eq(left - config.lanes), beat.eq(beat + 1)]
            with m.If(last):
                m.d.sync += [reading.eq(0), bank.eq(bank + 1)]
        with m.If(start):
            m.d.sync += [kind.eq(head), left.eq(head.n), beat.eq(0), reading.eq(1)]
        m.d.comb += [read.addr.eq(Cat(beat, bank)), read.en.eq(advance), coding.eq(reading)]

        # The levels over a magnitude are no more than the levels: the exponent is negative.
        along = data.StructLayout({"valid": 1, "last": 1, "midrise": 1, "offset": config.code_bits,
                                   "places": 7,
                                   **({"most": config.code_bits} if config.minmax else {})})
        midrise = kind.format == RowFormat.MIDRISE
        offset = Mux(kind.format == RowFormat.QUERY, 0, (1 << kind.bits >> 1) - midrise)
        if config.minmax:
            minmax = kind.format == RowFormat.MINMAX
            offset = Mux(minmax, self.zero, offset)
        factor = Signal.like(ratio.m, reset_less=True)
        pipe = [Signal(along, name=f"along_{n}") for n in range(config.latency)]
        if config.minmax:
            with m.If(advance):
                m.d.sync += pipe[0].most.eq(Mux(minmax, (1 << kind.bits) - 1, 0))
        with m.If(advance):
            m.d.sync += [
                factor.eq(ratio.m), pipe[0].valid.eq(reading), pipe[0].last.eq(last),
                pipe[0].midrise.eq(midrise),
                pipe[0].places.eq((midrise - ratio.e - config.shifter.fraction_bits)[:6]),
                pipe[0].offset.eq(offset),
                *(to.eq(value) for to, value in zip(pipe[1:], pipe)),
            ]
        m.d.comb += [self.o.valid.eq(pipe[-1].valid), self.o.p.last.eq(pipe[-1].last)]
        placed, rounded = pipe[config.multiplier.latency], pipe[-2]
        for lane in range(config.lanes):
            m.submodules[f"multiplier_{lane}"] = multiplier = Multiplier(config.multiplier)
            m.submodules[f"shifter_{lane}"] = shifter = RoundingShifter(config.shifter)
            m.d.comb += [
                multiplier.advance.eq(advance), multiplier.a.eq(read.data[lane]),
                multiplier.b.eq(factor),
                shifter.advance.eq(advance), shifter.value.eq(multiplier.product),
                shifter.places.eq(placed.places),
            ]
            odd, some = shifter.window[0], shifter.half | shifter.sticky
            # Mid-rise: half of the levels, which is an odd integer and a half, is added ahead of
            # rounding, so that ties are the integers and the odd ones of them go down.
            up = Mux(rounded.midrise, ~odd | some, shifter.half & (shifter.sticky | odd))
            total = Cat(C(1, 1), shifter.window).as_signed() + Cat(up, rounded.offset)
            code = total[1:].as_signed()
            if config.minmax:
                code = Mux((rounded.most != 0) & (code > rounded.most), rounded.most, code)
            with m.If(advance):
                m.d.sync += self.o.p.codes[lane].eq(code)
