# SPDX-License-Identifier: Apache-2.0
"""The scalar part of a quantiser: from a token's statistics to its ratio and scale."""

from amaranth import *
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.quant_config import NormQuantiserConfig
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["ScaleProgram"]


class Register(enum.Enum, shape=unsigned(3)):
    """Small floats that the program works on; the first four come with the command."""

    LEVELS = 0
    SCALE = 1
    NORM_SCALE = 2
    EPS = 3
    STATISTIC = 4
    LEFT = 5
    RIGHT = 6
    RATIO = 7


class Integer(enum.Enum, shape=unsigned(1)):
    """Integers that the program converts."""

    STATISTIC = 0
    SQUARE_SUM = 1


R, N = Register, Integer
PROGRAM = [
    (Operation.FROM_INT, N.STATISTIC, None, R.STATISTIC),
    (Operation.DIV, R.LEVELS, R.STATISTIC, R.RATIO),
    (Operation.DIV, R.STATISTIC, R.LEVELS, R.STATISTIC),
    (Operation.MUL, R.STATISTIC, R.SCALE, None),
    (Operation.MUL, R.SCALE, R.SCALE, R.RIGHT),
    (Operation.FROM_INT, N.SQUARE_SUM, None, R.LEFT),
    (Operation.MUL, R.LEFT, R.RIGHT, R.LEFT),
    (Operation.ADD, R.LEFT, R.EPS, R.LEFT),
    (Operation.SQRT, R.LEFT, R.LEFT, R.RIGHT),
    (Operation.MUL, R.SCALE, R.NORM_SCALE, R.LEFT),
    (Operation.DIV, R.LEFT, R.RIGHT, R.LEFT),
    (Operation.MUL, R.STATISTIC, R.LEFT, None),
]
"""Operation, operands, destination; None is the output."""

RATIO_STEP = 1
PLAIN_STEP = 3
"""Last step without a norm, left out with one."""


class ScaleProgram(wiring.Component):
    """One quantiser's scalar arithmetic, step by step on a :class:`SmallFloatUnit`.

    A command is accepted in its fourth cycle; from then on `ratio_valid` is low and `busy` high.
    The program starts in the cycle after `go`, one step after the other, each the operation's
    latency and one cycle long.  `ratio` stands after step 1 until the next command.  The last
    step's response is the scale: ``o_scale`` and ``i_response`` are joined combinationally then.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"norm": 1, "levels": SMALL_FLOAT, ...})))`
    go : :py:`In(1)`
        Both integers stand, and will until ``o_scale`` is delivered.
    statistic, square_sum : :py:`In(...)`
    ratio : :py:`Out(SMALL_FLOAT)`
    ratio_valid, busy : :py:`Out(1)`
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
    o_request, i_response
        Streams of the unit.
    """

    def __init__(self, config: NormQuantiserConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "norm": 1, "levels": SMALL_FLOAT, "scale": SMALL_FLOAT,
                "norm_scale": SMALL_FLOAT, "eps": SMALL_FLOAT,
            }))),
            "go": In(1),
            "statistic": In(config.statistic_bits),
            "square_sum": In(config.square_sum_bits),
            "ratio": Out(SMALL_FLOAT),
            "ratio_valid": Out(1),
            "busy": Out(1),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = memory.Memory(shape=SMALL_FLOAT, depth=8, init=[])
        write, a, b = registers.write_port(), *(registers.read_port(domain="comb")
                                                for _ in range(2))
        step, norm, field = Signal(range(len(PROGRAM))), Signal(), Signal(2)
        integer, destination, final = Signal(Integer), Signal(Register), Signal()
        command, request = self.i_command.p, self.o_request.p

        with m.Switch(step):
            for n, (operation, left, right, to) in enumerate(PROGRAM):
                with m.Case(n):
                    m.d.comb += [request.operation.eq(operation), final.eq(to is None)]
                    if isinstance(left, Integer):
                        m.d.comb += integer.eq(left)
                    else:
                        m.d.comb += [a.addr.eq(left), b.addr.eq(right)]
                    if to is not None:
                        m.d.comb += destination.eq(to)
        squares = integer == Integer.SQUARE_SUM
        m.d.comb += [request.n.eq(Mux(squares, self.square_sum, self.statistic)),
                     request.a.eq(a.data), request.b.eq(b.data),
                     write.addr.eq(destination),
                     write.data.eq(self.i_response.p),
                     self.o_scale.p.eq(self.i_response.p)]

        with m.FSM() as machine:
            with m.State("LOAD"):
                constants = Array([command.levels, command.scale, command.norm_scale, command.eps])
                m.d.comb += [write.addr.eq(field), write.data.eq(constants[field]), write.en.eq(1),
                             self.i_command.ready.eq(field == 3)]
                m.d.sync += [norm.eq(command.norm), step.eq(0)]
                with m.If(self.i_command.valid):
                    m.d.sync += field.eq(field + 1)
                    with m.If(field == 3):
                        m.d.sync += self.ratio_valid.eq(0)
                        m.next = "READY"
            with m.State("READY"):
                with m.If(self.go):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += [self.o_scale.valid.eq(final & self.i_response.valid),
                             self.i_response.ready.eq(~final | self.o_scale.ready),
                             write.en.eq(self.i_response.valid & ~final)]
                with m.If(self.i_response.valid & self.i_response.ready):
                    m.d.sync += step.eq(step + 1)
                    with m.If((step == PLAIN_STEP - 1) & norm):
                        m.d.sync += step.eq(PLAIN_STEP + 1)
                    with m.If(step == RATIO_STEP):
                        m.d.sync += [self.ratio.eq(self.i_response.p), self.ratio_valid.eq(1)]
                    m.next = "ISSUE"
                    with m.If(final):
                        m.next = "LOAD"
        m.d.comb += self.busy.eq(~machine.ongoing("LOAD"))
        return m
