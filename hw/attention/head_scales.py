# SPDX-License-Identifier: Apache-2.0
"""The scalar part of attention: units of scores, ratios of codes and scales of heads."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.softmax_config import SoftmaxConfig
from hw.attention.softmax import total_layout
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["HeadScales"]


class Operand(enum.Enum, shape=unsigned(3)):
    """What an operation works on; the first three are kept from earlier ones."""

    PEAK = 0
    LEFT = 1
    RIGHT = 2
    QUERY = 3
    SCORE = 4
    LEVELS = 5
    POWER = 6


class Integer(enum.Enum, shape=unsigned(1)):
    """Integers that are converted."""

    PEAK = 0
    TOTAL = 1


R, N = Operand, Integer
UNIT, RATIO, SCALE = "unit", "ratio", "scale"
PROGRAM = [
    (Operation.MUL, R.QUERY, R.SCORE, UNIT),
    (Operation.FROM_INT, N.PEAK, None, R.PEAK),
    (Operation.DIV, R.LEVELS, R.PEAK, RATIO),
    (Operation.DIV, R.PEAK, R.LEVELS, R.LEFT),
    (Operation.FROM_INT, N.TOTAL, None, R.RIGHT),
    (Operation.DIV, R.POWER, R.RIGHT, R.RIGHT),
    (Operation.MUL, R.LEFT, R.RIGHT, SCALE),
]
"""Operation, operands, and where the result goes: a register or an output.

The first step is done once for each pass ahead of its rows, the others once its totals are known.
"""

TOTAL_STEP = 1
"""First step of a pass's totals."""

RATIO_STEP = 2
"""Step whose result the pass's weights wait for."""

POWER_BIAS = 62
"""``2**(8 + E)`` with E = exponent - 55 has the mantissa 2**15 and the exponent - 62."""


class HeadScales(wiring.Component):
    """Small floats of each pass, its heads side by side, each on a small-float unit.

    Units of scores, ``mul(s_q, score_scale)``, are made as soon as a pass's query scales are in, up
    to two passes ahead; ratios ``div(C, W)`` and scales ``mul(div(W, C), div(2**(8 + E), l))`` when
    its totals come.  Ratios go first, then units, then scales.  A step takes the operation's
    latency and one cycle, if every head has a unit to itself; through a
    :class:`hw.quant.request_arbiter.RequestArbiter` one unit serves them in turn.  Totals are taken
    with the last step.

    Members
    -------
    score_scale : :py:`In(SMALL_FLOAT)`
        ``2**8 * log2(e) / sqrt(head_dim)``; stands while scales come in.
    i_scale : :py:`In(stream.Signature(SMALL_FLOAT))`
        Scales of the queries, head after head.
    o_unit, o_ratio : :py:`Out(stream.Signature(ArrayLayout(SMALL_FLOAT, queries)))`
        One a pass.
    i_total : :py:`In(stream.Signature(total_layout(config)))`
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        Scales of the sums, head after head.
    o_request, i_response
        Streams of :class:`hw.quant.small_float_unit.SmallFloatUnit`, one each a head.
    """

    def __init__(self, config: SoftmaxConfig):
        self.config = config
        heads = stream.Signature(data.ArrayLayout(SMALL_FLOAT, config.queries))
        super().__init__({
            "score_scale": In(SMALL_FLOAT),
            "i_scale": In(stream.Signature(SMALL_FLOAT)),
            "o_unit": Out(heads),
            "i_total": In(stream.Signature(total_layout(config))),
            "o_ratio": Out(heads),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            "o_request": Out(stream.Signature(REQUEST)).array(config.queries),
            "i_response": In(stream.Signature(SMALL_FLOAT)).array(config.queries),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        heads = data.ArrayLayout(SMALL_FLOAT, config.queries)
        scales, count = Signal(heads, reset_less=True), Signal(range(config.queries + 1))
        full = count == config.queries
        m.d.comb += self.i_scale.ready.eq(~full)
        with m.If(self.i_scale.valid & ~full):
            m.d.sync += [scales[count].eq(self.i_scale.p), count.eq(count + 1)]

        step = Signal(range(len(PROGRAM)))
        sent, got = Signal(config.queries), Signal(config.queries)
        responses = Cat(port.valid & port.ready for port in self.i_response)
        running, finished = Signal(), Signal()
        m.d.comb += finished.eq(running & (got | responses).all())
        results, free = Signal(heads, reset_less=True), Signal()  # scales that wait to go out
        index, waiting = Signal(range(max(2, config.queries))), Signal()
        m.d.comb += [self.o_scale.valid.eq(waiting), free.eq(~waiting),
                     self.o_scale.p.eq(Array(map(Value.cast, results))[index])]
        with m.If(self.o_scale.valid & self.o_scale.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(index == config.queries - 1):
                m.d.sync += [waiting.eq(0), index.eq(0)]
        # Units and ratios that wait until those ahead of them are taken.
        units, ratios = (Signal(heads, name=name, reset_less=True) for name in ("units", "ratios"))
        unit_waits, ratio_waits = Signal(), Signal()
        for port, made, waits in ((self.o_unit, units, unit_waits),
                                  (self.o_ratio, ratios, ratio_waits)):
            with m.If(~port.valid | port.ready):
                m.d.sync += [port.valid.eq(waits), port.p.eq(made), waits.eq(0)]

        self.work(m, step, running, sent, got, scales, {UNIT: units, RATIO: ratios,
                                                        SCALE: results})
        back = Signal.like(step)  # the step that goes on behind a unit made in between
        with m.If(finished):
            m.d.sync += [sent.eq(0), got.eq(0), step.eq(step + 1)]
            # A pass's rows wait for its unit, nothing for what follows the ratio.
            more = (step >= RATIO_STEP) & (step != len(PROGRAM) - 1)
            with m.If(more & full & ~unit_waits):
                m.d.sync += [step.eq(0), back.eq(step + 1)]
            with m.Switch(step):
                with m.Case(0):
                    m.d.sync += [unit_waits.eq(1), count.eq(0), step.eq(back), back.eq(0),
                                 running.eq(back != 0)]
                with m.Case(RATIO_STEP):
                    m.d.sync += ratio_waits.eq(1)
                with m.Case(len(PROGRAM) - 1):
                    m.d.comb += self.i_total.ready.eq(1)
                    m.d.sync += [waiting.eq(1), running.eq(0)]
        with m.If(~running):
            with m.If(self.i_total.valid & free & ~ratio_waits):
                m.d.sync += [running.eq(1), step.eq(TOTAL_STEP)]
            with m.Elif(full & ~unit_waits):
                m.d.sync += [running.eq(1), step.eq(0)]
        return m

    def work(self, m, step, running, sent, got, scales, outputs):
        """Send each head's requests and keep its responses."""
        config = self.config
        levels = (1 << config.weight_bits) - 1
        shift = 16 - config.weight_bits
        constant = C((levels << shift) | (-shift & 0xFF) << 16, 24)
        for q in range(config.queries):
            kept = [Signal(SMALL_FLOAT, name=f"{operand.name.lower()}_{q}", reset_less=True)
                    for operand in (R.PEAK, R.LEFT, R.RIGHT)]
            power = Signal(SMALL_FLOAT, name=f"power_{q}")
            m.d.comb += [power.m.eq(1 << 15), power.e.eq(self.i_total.p.exponent - POWER_BIAS)]
            values = Array([*map(Value.cast, kept), Value.cast(scales[q]),
                            Value.cast(self.score_scale), constant, Value.cast(power)])
            request, response = self.o_request[q], self.i_response[q]
            m.d.comb += [request.valid.eq(running & ~sent[q]), response.ready.eq(running & ~got[q])]
            with m.If(request.valid & request.ready):
                m.d.sync += sent[q].eq(1)
            taken = response.valid & response.ready
            with m.If(taken):
                m.d.sync += got[q].eq(1)
            with m.Switch(step):
                for n, (operation, left, right, to) in enumerate(PROGRAM):
                    with m.Case(n):
                        m.d.comb += request.p.operation.eq(operation)
                        if isinstance(left, Integer):
                            numbers = {N.PEAK: self.i_total.p.peaks, N.TOTAL: self.i_total.p.totals}
                            m.d.comb += request.p.n.eq(numbers[left][q])
                        else:
                            m.d.comb += [request.p.a.eq(values[left.value]),
                                         request.p.b.eq(values[right.value])]
                        target = outputs[to][q] if isinstance(to, str) else kept[to.value]
                        with m.If(taken):
                            m.d.sync += target.eq(response.p)
