# SPDX-License-Identifier: Apache-2.0
"""The next token of a stream of logits: the largest one's, or one drawn by temperature."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.sampler_config import RANDOM_BITS, SamplerConfig
from golden_model.softmax_config import TABLE_FRACTION_BITS, WEIGHT_BITS
from hw.attention.power_table import TABLE
from hw.attention.value_weight import OCTAVE_BITS, nearest
from hw.delay import later
from hw.head.argmax import Argmax, logit_layout
from hw.memory.sram import Sram
from hw.quant.rounding_shifter import RoundingShifter
from hw.quant.scale_lanes import SMALL_FLOAT, ScaleLanes
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["SAMPLING", "ZERO_SEED", "Sampler", "xorshift"]

ZERO_SEED = 0x9E3779B9
"""Stands in for seed 0, which the generator would never leave."""

SAMPLING = data.StructLayout({"unit": SMALL_FLOAT, "enable": 1})
"""The constant ``2**8 * log2(e) / temperature``, and whether to sample at all."""


def xorshift(state):
    """Return the state after `state`: Marsaglia's generator with shifts 13, 17, 5."""
    for by in (13, -17, 5):
        state = (state ^ (state << by if by > 0 else state >> -by))[:RANDOM_BITS]
    return state


class Sampler(wiring.Component):
    """One token of a vocabulary's logits, in the order of their indices, one a cycle.

    Without ``sampling.enable`` it is the largest logit's, the lowest index among equals, and is
    offered ``config.greedy_latency`` cycles after the last logit.  With it, logits become scores
    ``z = sat24(RNE(logit * f))``, f the rounded ``scale * unit``, with softmax weights as
    :class:`hw.attention.value_weight.ValueWeight` has them, and the token is the first whose
    running sum of weights exceeds ``state * total >> 32``.  The weights depend on the largest score
    and the draw on their sum, so the scores are kept and walked through twice: the token is offered
    ``config.drawing_latency + n + token`` cycles after the last of n logits.

    A token's scale comes before its logits: ``i.ready`` is low until it was taken and, with
    sampling, until the small-float unit has multiplied it.  All handshakes depend on registers
    only.

    The generator goes on when a drawn token is taken, so that ``random_state`` is always a seed
    from which the tokens to come follow.  It survives a reset.

    Members
    -------
    sampling : :py:`In(SAMPLING)`
        Read in the cycle of the scale's transfer.
    load_seed, seed : :py:`In(1)`, :py:`In(32)`
        Makes `seed` the state, or `ZERO_SEED` if it is 0.  Not while a token is drawn.
    random_state : :py:`Out(32)`
    i_scale : :py:`In(stream.Signature(SMALL_FLOAT))`
        Real value of a logit of 1; one a token.
    i : :py:`In(stream.Signature(logit_layout(config.argmax)))`
    o : :py:`Out(stream.Signature(StructLayout({"token": range(max_vocab)})))`
    o_request, i_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`.
    """

    def __init__(self, config: SamplerConfig):
        self.config = config
        super().__init__({
            "sampling": In(SAMPLING),
            "load_seed": In(1),
            "seed": In(RANDOM_BITS),
            "random_state": Out(RANDOM_BITS, init=ZERO_SEED),
            "i_scale": In(stream.Signature(SMALL_FLOAT)),
            "i": In(stream.Signature(logit_layout(config.argmax))),
            "o": Out(stream.Signature(data.StructLayout({"token": range(config.max_vocab)}))),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.argmax = argmax = Argmax(config.argmax)
        m.submodules.lanes = lanes = ScaleLanes(config.scale)
        m.submodules.scores = scores = Sram(config.scores)
        drawing, open_ = Signal(), Signal()
        scale, factor = (Signal(SMALL_FLOAT, name=name, reset_less=True)
                         for name in ("scale", "factor"))
        largest = Signal(signed(WORD_BITS), reset_less=True)
        index, last = Signal(range(config.max_vocab)), Signal(range(config.max_vocab))
        walk, flush = Signal(), Signal()
        total = Signal(config.total_bits)          # of weights so far
        threshold = Signal(config.total_bits)
        bit = Signal(range(RANDOM_BITS))
        state = Signal(RANDOM_BITS, init=ZERO_SEED, reset_less=True)
        following = xorshift(state)
        m.d.comb += self.random_state.eq(state)

        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(open_), argmax.i.valid.eq(self.i.valid & open_),
            argmax.i.payload.eq(self.i.payload),
            lanes.i.valid.eq(taken & drawing), lanes.i.p.y[0].eq(self.i.p.logit),
            lanes.i.p.scale.eq(factor), lanes.o.ready.eq(1),
            self.o_request.p.operation.eq(Operation.MUL), self.o_request.p.a.eq(scale),
            self.o_request.p.b.eq(factor),
        ]
        z = lanes.o.p[0]
        stored_last = later(m, self.i.p.last, config.scale.latency, "last")
        m.d.comb += [scores.w_en.eq(lanes.o.valid), scores.w_addr.eq(index), scores.w_data.eq(z),
                     scores.r_en.eq(walk), scores.r_addr.eq(index)]
        weight, counted = self.weigh(m, scores.r_data.as_signed(), largest, walk, flush)
        number = Signal(range(config.max_vocab))   # of the score that is weighed
        summed = Signal(config.total_bits)
        m.d.comb += summed.eq(total + weight)
        with m.If(counted):
            m.d.sync += [total.eq(summed), number.eq(number + 1)]

        with m.FSM():
            with m.State("SCALE"):
                m.d.comb += self.i_scale.ready.eq(1)
                m.d.sync += [drawing.eq(self.sampling.enable), index.eq(0),
                             scale.eq(self.i_scale.p), factor.eq(self.sampling.unit)]
                with m.If(self.i_scale.valid):
                    m.next = "LOGITS"
                    with m.If(self.sampling.enable):
                        m.next = "ASK"

            with m.State("ASK"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "FACTOR"

            with m.State("FACTOR"):
                m.d.comb += self.i_response.ready.eq(1)
                m.d.sync += factor.eq(self.i_response.p)
                with m.If(self.i_response.valid):
                    m.next = "LOGITS"

            with m.State("LOGITS"):
                m.d.comb += open_.eq(1)
                with m.If(taken & self.i.p.last):
                    m.next = "STORE"
                    with m.If(~drawing):
                        m.next = "LARGEST"

            with m.State("STORE"):
                m.d.sync += [last.eq(index), total.eq(0), number.eq(0)]
                with m.If(lanes.o.valid & stored_last):
                    m.d.sync += index.eq(0)
                    m.next = "SUM"

            with m.State("SUM"):
                m.d.comb += walk.eq(1)
                m.d.sync += [index.eq(index + 1), bit.eq(0), threshold.eq(0)]
                with m.If(counted & (number == last)):
                    m.d.comb += flush.eq(1)
                    m.next = "THRESHOLD"

            with m.State("THRESHOLD"):
                # Low bits that fall off never come back: the product's high half is exact.
                addend = Mux(following.bit_select(bit, 1), total, 0)
                m.d.sync += [bit.eq(bit + 1), index.eq(0), number.eq(0),
                             threshold.eq((threshold + addend) >> 1)]
                with m.If(bit == RANDOM_BITS - 1):
                    m.d.sync += total.eq(0)
                    m.next = "PICK"

            with m.State("PICK"):
                m.d.comb += walk.eq(1)
                m.d.sync += index.eq(index + 1)
                with m.If(counted & (summed > threshold)):
                    m.d.comb += flush.eq(1)
                    m.d.sync += number.eq(number)
                    m.next = "DRAWN"

            with m.State("DRAWN"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.token.eq(number)]
                with m.If(self.o.ready):
                    m.d.comb += argmax.o.ready.eq(1)
                    m.d.sync += state.eq(following)
                    m.next = "SCALE"

            with m.State("LARGEST"):
                m.d.comb += [self.o.valid.eq(argmax.o.valid), argmax.o.ready.eq(self.o.ready),
                             self.o.p.token.eq(argmax.o.p.token)]
                with m.If(self.o.ready):
                    m.next = "SCALE"

        with m.If(lanes.o.valid):
            with m.If((index == 0) | (z > largest)):
                m.d.sync += largest.eq(z)
            with m.If(~stored_last):
                m.d.sync += index.eq(index + 1)
        with m.If(self.load_seed):
            m.d.sync += state.eq(Mux(self.seed.any(), self.seed, ZERO_SEED))
        return m

    def weigh(self, m, score, largest, walk, flush):
        """Return the weight of a score that is there a cycle after `walk`, and whether it counts.

        `flush` drops what is under way.
        """
        config = self.config
        m.submodules.table = table = memory.Memory(shape=WEIGHT_BITS, depth=len(TABLE), init=TABLE)
        m.submodules.octaves = octaves = RoundingShifter(config.table_shifter)
        read = table.read_port()
        distance = Signal(WORD_BITS + 1, reset_less=True)
        m.d.sync += distance.eq(largest - score)
        whole = distance[TABLE_FRACTION_BITS:]
        far = later(m, whole[OCTAVE_BITS:].any(), 1 + config.table_shifter.latency, "far")
        m.d.comb += [
            read.addr.eq(distance[:TABLE_FRACTION_BITS]),
            octaves.advance.eq(1), octaves.value.eq(read.data),
            octaves.places.eq(later(m, whole[:OCTAVE_BITS], 1, "places")),
        ]
        weight = Signal(WEIGHT_BITS, reset_less=True)
        m.d.sync += weight.eq(Mux(far, 0, nearest(octaves, WEIGHT_BITS)))
        for step in range(config.weight_latency):
            held = Signal(name=f"counted_{step}")
            m.d.sync += held.eq(walk & ~flush)
            walk = held
        return weight, walk
