# SPDX-License-Identifier: Apache-2.0
"""RMSNorm fused with the activation quantisers: codes and one scale, two passes over a token."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.quant_config import MANTISSA_BITS, NormQuantiserConfig
from hw.delay import delayed, vacant
from hw.quant.code_encoder import CodeEncoder, Format
from hw.quant.multiplier import Multiplier
from hw.quant.rounding_shifter import RoundingShifter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.scale_program import ScaleProgram
from hw.quant.small_float_unit import REQUEST

__all__ = ["NormQuantiser"]


class NormQuantiser(wiring.Component):
    """Codes of ``x * gain`` for one token, and the scale that makes them activations.

    The caller sends a command, then the vector twice, each time in ``ceil(n / P)`` beats; lanes
    past ``n`` in the last beat are ignored.  The first pass takes the statistics: sum of squares,
    and sum or maximum of magnitudes.  A scalar program then runs on a :class:`SmallFloatUnit` that
    is connected to ``o_request`` and ``i_response``; as soon as it has the quantiser's ratio the
    second pass is let in, whose codes leave ``config.latency`` cycles later at one beat a cycle,
    while the program goes on to the scale.  ``golden_model.quant.norm_quantiser.schedule`` states
    every cycle.  The next command is accepted when codes and scale are delivered.

    With ``config.residual`` the same multipliers also add residuals: a command of that format lets
    in one pass of ``addend`` and ``x``, and ``words`` on ``o`` are the saturated sums of `addend`
    and ``x * scale * 2**shift``, rounded half to even and saturated; there is no ``o_scale``.

    In the second pass ``i.ready`` depends combinationally on ``o.ready``; ``o_scale`` and
    ``i_response`` are joined combinationally when the program ends.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({...})))`
        ``n`` (at least 1), ``format``, ``norm`` (else gains, ``norm_scale`` and ``eps`` are
        ignored), ``scale`` of the words, ``levels``: sqrt(7) * n for INT4, 12 for FP4, 127 for
        INT8; ``norm_scale`` and ``eps`` have the length folded in; ``shift``.
    i : :py:`In(stream.Signature(StructLayout({"x": signed(24)[P], "gain": signed(12)[P]})))`
    o : :py:`Out(stream.Signature(StructLayout({"codes": signed(8)[P], "last": 1})))`
        Codes, zero in lanes past ``n``.
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
    o_request, i_response
        Streams of a :class:`SmallFloatUnit`, which may serve others in between.
    """

    def __init__(self, config: NormQuantiserConfig):
        self.config = config
        words = data.ArrayLayout(signed(WORD_BITS), config.lanes)
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "n": range(config.max_n + 1), "format": Format, "norm": 1, "levels": SMALL_FLOAT,
                "scale": SMALL_FLOAT, "norm_scale": SMALL_FLOAT, "eps": SMALL_FLOAT,
                **({"shift": signed(8)} if config.residual else {}),
            }))),
            "i": In(stream.Signature(data.StructLayout({
                "x": words, "gain": data.ArrayLayout(signed(config.gain_bits), config.lanes),
                **({"addend": words} if config.residual else {}),
            }))),
            "o": Out(stream.Signature(data.StructLayout({
                "codes": data.ArrayLayout(signed(8), config.lanes), "last": 1,
                **({"words": words} if config.residual else {}),
            }))),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.program = program = ScaleProgram(config)
        self.advance = ~self.o.valid | self.o.ready
        self.second, self.code_format = Signal(), Signal(Format)
        n, left, norm = Signal(range(config.max_n + 1)), Signal(range(config.max_n + 1)), Signal()
        last, accepted = left <= config.lanes, self.i.valid & self.i.ready

        wiring.connect(m, program.o_request, wiring.flipped(self.o_request))
        wiring.connect(m, wiring.flipped(self.i_response), program.i_response)
        wiring.connect(m, program.o_scale, wiring.flipped(self.o_scale))
        command = self.i_command.p
        m.d.comb += [getattr(program.i_command.p, name).eq(getattr(command, name))
                     for name in ("norm", "levels", "scale", "norm_scale", "eps")]

        operands = [(Signal(signed(WORD_BITS), name=f"x_{lane}", reset_less=True),
                     Signal(signed(config.gain_bits), name=f"gain_{lane}", reset_less=True))
                    for lane in range(config.lanes)]
        with m.If(self.advance):
            for lane, (x, gain) in enumerate(operands):
                m.d.sync += [x.eq(Mux(left > lane, self.i.p.x[lane], 0)),
                             gain.eq(Mux(norm, self.i.p.gain[lane], 1))]
        ratio, power = Signal(SMALL_FLOAT), Signal(signed(10))
        first_valid = self.later(m, accepted & ~self.second, "first", config.statistics_latency - 1)
        clear = program.i_command.valid & program.i_command.ready
        magnitudes, squares = self.lanes(m, operands, ratio.m, power)
        magnitude_end = config.magnitude_latency + config.tree_levels
        square_end = config.square_latency + config.tree_levels
        m.d.comb += [
            program.statistic.eq(self.reduce(
                m, magnitudes, config.statistic_bits, self.code_format == Format.INT4,
                first_valid[magnitude_end], clear, "statistic")),
            program.square_sum.eq(self.reduce(
                m, squares, config.square_sum_bits, C(1, 1), first_valid[square_end], clear,
                "square")),
        ]

        ends = self.later(m, accepted & last & ~self.second, "end", config.statistics_latency)
        codes_end = self.later(m, accepted & last & self.second, "last", config.latency)
        codes_valid = self.later(m, accepted & self.second, "codes", config.latency)
        room = vacant(m, codes_valid[-2], "vacant", advance=self.advance) | self.o.ready
        m.d.comb += [program.go.eq(ends[-1]), self.o.valid.eq(codes_valid[-1]),
                     self.o.p.last.eq(codes_end[-1])]
        with m.If(accepted):
            m.d.sync += left.eq(left - config.lanes)
        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += [program.i_command.valid.eq(self.i_command.valid),
                             self.i_command.ready.eq(program.i_command.ready)]
                m.d.sync += [n.eq(command.n), left.eq(command.n), norm.eq(command.norm),
                             self.code_format.eq(command.format), self.second.eq(0)]
                with m.If(clear):
                    m.next = "STATISTICS"
                if config.residual:
                    with m.If(command.format == Format.RESIDUAL):
                        m.d.comb += [program.i_command.valid.eq(0), self.i_command.ready.eq(1)]
                        m.d.sync += [ratio.eq(command.scale), norm.eq(0), self.second.eq(1),
                                     power.eq(command.scale.e + command.shift)]
                        with m.If(self.i_command.valid):
                            m.next = "CODES"
            with m.State("STATISTICS"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(accepted & last):
                    m.next = "RATIO"
            with m.State("RATIO"):
                m.d.sync += [left.eq(n), ratio.eq(program.ratio), power.eq(program.ratio.e)]
                with m.If(program.ratio_valid):
                    m.d.sync += self.second.eq(1)
                    m.next = "CODES"
            with m.State("CODES"):
                m.d.comb += self.i.ready.eq(room)
                with m.If(accepted & last):
                    m.next = "DELIVER"
            with m.State("DELIVER"):
                with m.If(~Cat(codes_valid).any() & ~program.busy):
                    m.next = "COMMAND"
        return m

    def later(self, m, value, name, steps):
        """Return a value 0 to `steps` moves of the pipeline later."""
        return delayed(m, value, steps, name, advance=self.advance, reset_less=len(value) > 1)

    def lanes(self, m, operands, mantissa, power):
        """Build the lanes; return their magnitudes and, in the first pass, their squares."""
        config, advance = self.config, self.advance
        # A mantissa is at least 2**15: a ratio of a larger exponent saturates all but zero.
        places, amount, huge = Signal(signed(10)), Signal(7), Signal()
        m.d.comb += places.eq(config.shifter.window_bits - MANTISSA_BITS - power)
        m.d.sync += [huge.eq(places < 0), amount.eq(Mux(places < 0, 0, Mux(places >= 64, 64,
                                                                        places[:6])))]
        magnitudes, squares = [], []
        for lane, (x, gain) in enumerate(operands):
            m.submodules[f"gain_{lane}"] = gained = Multiplier(config.gain_multiplier)
            m.submodules[f"multiplier_{lane}"] = multiplier = Multiplier(config.multiplier)
            m.submodules[f"shifter_{lane}"] = shifter = RoundingShifter(config.shifter)
            m.submodules[f"encoder_{lane}"] = encoder = CodeEncoder()
            magnitude = Signal(config.magnitude_bits, name=f"magnitude_{lane}", reset_less=True)
            sign = gained.product[-1]
            with m.If(advance):
                m.d.sync += magnitude.eq(Mux(sign, -gained.product, gained.product))
            signs = self.later(m, sign, f"sign_{lane}",
                               1 + config.multiplier.latency + config.shifter.latency)
            some = shifter.over | shifter.window.any() | shifter.half | shifter.sticky
            over = shifter.over | huge & some
            m.d.comb += [
                gained.advance.eq(advance), gained.a.eq(x), gained.b.eq(gain),
                multiplier.advance.eq(advance),
                multiplier.a.eq(Mux(self.second, magnitude, x)),
                multiplier.b.eq(Mux(self.second, mantissa, x)),
                shifter.advance.eq(advance), shifter.value.eq(multiplier.product),
                shifter.places.eq(amount),
                encoder.format.eq(self.code_format), encoder.floor.eq(shifter.window[:8]),
                encoder.half.eq(shifter.half), encoder.sticky.eq(shifter.sticky),
                encoder.over.eq(over | shifter.window[8:].any()), encoder.negative.eq(signs[-1]),
            ]
            with m.If(advance):
                m.d.sync += self.o.p.codes[lane].eq(encoder.code)
                if config.residual:
                    addend = self.later(m, self.i.p.addend[lane], f"addend_{lane}",
                                        config.latency - 1)[-1]
                    m.d.sync += self.o.p.words[lane].eq(self.sum(addend, shifter, over, signs[-1]))
            magnitudes.append(magnitude)
            squares.append(multiplier.product[:2 * WORD_BITS - 1])
        return magnitudes, squares

    @staticmethod
    def sum(addend, shifter, over, negative):
        """Return `addend` plus the rounded, saturated and signed magnitude, saturated."""
        magnitude = shifter.window
        up = shifter.half & (shifter.sticky | magnitude[0])
        low, high = magnitude[:-1], magnitude[-1]
        # One more magnitude is left to the negative side.
        clip = over | Mux(negative, high & (low.any() | up), high | low.all() & up)
        limit = Cat((~negative).replicate(WORD_BITS - 1), negative, negative)
        term = Mux(clip, limit, Cat(magnitude ^ negative.replicate(WORD_BITS), negative))
        carry = ~clip & (negative ^ up)
        total = (Cat(C(1, 1), addend).as_signed() + Cat(carry, term).as_signed())[1:WORD_BITS + 3]
        top = total[WORD_BITS - 1:]
        peak = Cat((~total[-1]).replicate(WORD_BITS - 1), total[-1])
        return Mux(top.all() | ~top.any(), total[:WORD_BITS], peak).as_signed()

    def reduce(self, m, values, bits, summing, valid, clear, name):
        """Return the running sum, or maximum, of unsigned lanes; a register a level of the tree."""
        def join(a, b, width):
            both = Cat(C(1, 1), a) + Cat(~summing, b ^ (~summing).replicate(len(b)))
            both = both[1:]  # without a sum: a - b, and its carry says that a is no less
            return Mux(summing, both, Mux(both[len(b)], a, b))[:width]

        level = 0
        while len(values) > 1:
            width = len(values[0]) + 1
            sums = [Signal(width, name=f"{name}_{level}_{n}", reset_less=True)
                    for n in range((len(values) + 1) // 2)]
            pairs = [join(a, b, width) for a, b in zip(values[0::2], values[1::2])]
            m.d.sync += [held.eq(value)
                         for held, value in zip(sums, pairs + values[len(values) & ~1:])]
            values, level = sums, level + 1
        total = Signal(max(bits, len(values[0])), name=name)
        term = Cat(values[0], C(0, len(total) - len(values[0])))
        with m.If(clear):
            m.d.sync += total.eq(0)
        with m.Elif(valid):
            m.d.sync += total.eq(join(total, term, len(total)))
        return total
