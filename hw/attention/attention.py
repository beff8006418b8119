# SPDX-License-Identifier: Apache-2.0
"""Attention of one token in one layer: from coded queries and cached rows to integer outputs."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.attention_config import AttentionConfig
from hw.attention.head_scales import HeadScales
from hw.attention.score import Score, key_layout
from hw.attention.softmax import Softmax
from hw.attention.weighted_sum import WeightedSum, value_layout
from hw.control.slack import Slack
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST

__all__ = ["Attention", "command_layout"]


def read_fields(config):
    """Fields that say what to read from the cache."""
    return {"slot": range(max(2, config.slots)), "stream": range(max(2, config.streams))}


def command_layout(config: AttentionConfig):
    """Payload of ``i_command``: one layer's attention."""
    return data.StructLayout({
        "passes": range(config.max_heads + 1),
        "shared": range(config.max_heads + 1),
        **read_fields(config),
        "beats": range(config.score.max_beats + 1),
        "words": range(config.max_words + 1),
        "score_scale": SMALL_FLOAT,
    })


class Attention(wiring.Component):
    """Sums ``O_i`` and scale of every head of one token, ``config.queries`` heads at a time.

    A pass is ``config.queries`` heads that share a KV head.  Its rows of keys are read, one word a
    cycle; its softmax is done over a buffer; its rows of values are read.  The three overlap from
    pass to pass, so that N passes over T rows of w words take about ``(N + 1) * T * w + T`` cycles;
    :mod:`golden_model.attention.attention` states every one.  A second command is taken when
    everything of the first was asked for, and overlaps with it.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        ``passes`` of the layer, of which ``shared`` neighbours read the same KV head (from 1);
        ``slot`` of the sequence and ``stream`` of the first KV head in the cache, its neighbours
        follow; ``beats`` of a query and ``words`` of a row, which must divide
        ``config.max_words``; ``score_scale``: ``2**8 * log2(e) / sqrt(head_dim)``, which must be
        the same while two commands are in work.
    i_query : :py:`In(stream.Signature(ArrayLayout(signed(query_bits), beat)))`
        Codes, head after head, zero past a head's end.
    i_query_scale : :py:`In(stream.Signature(SMALL_FLOAT))`
        One a head.
    o_key_read, o_value_read : :py:`Out(stream.Signature(StructLayout({"slot", "stream"})))`
        Ask for all visible rows of a stream, the BOS row first.
    i_key, i_value : :py:`In(stream.Signature(key_layout(config.score)))` and ``value_layout``
        What was asked for.  A word of keys has the scale of the value row beside that of the key.
    o : :py:`Out(stream.Signature(StructLayout({"sums": signed(sum_bits)[beat], "last": 1})))`
        Sums, head after head; `last` marks a head's end.
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        Scale of each head's sums.
    o_request, i_response
        Streams of :class:`hw.quant.small_float_unit.SmallFloatUnit`, one each a head of a pass.
    """

    def __init__(self, config: AttentionConfig):
        self.config = config
        read = stream.Signature(data.StructLayout(read_fields(config)))
        self.score, self.softmax = Score(config.score), Softmax(config.softmax)
        self.weighted_sum = WeightedSum(config.weighted_sum)
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i_query": In(self.score.i_query.signature.flip()),
            "i_query_scale": In(stream.Signature(SMALL_FLOAT)),
            "o_key_read": Out(read),
            "o_value_read": Out(read),
            "i_key": In(stream.Signature(key_layout(config.score))),
            "i_value": In(stream.Signature(value_layout(config.weighted_sum))),
            "o": Out(self.weighted_sum.o.signature),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            "o_request": Out(stream.Signature(REQUEST)).array(config.queries),
            "i_response": In(stream.Signature(SMALL_FLOAT)).array(config.queries),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.score, m.submodules.softmax = self.score, self.softmax
        m.submodules.weighted_sum = self.weighted_sum
        m.submodules.scales = scales = HeadScales(config.softmax)

        command = Signal(command_layout(config))
        left = []
        for n, port in enumerate((self.score.i_command, self.weighted_sum.i_command,
                                  self.o_key_read, self.o_value_read)):
            left.append(passes := Signal(range(config.max_heads + 1), name=f"passes_{n}"))
            m.d.comb += port.valid.eq(passes != 0)
            with m.If(port.valid & port.ready):
                m.d.sync += passes.eq(passes - 1)
            if n < 2:
                m.d.comb += [port.p.beats.eq(command.beats), port.p.words.eq(command.words)]
                continue
            head = Signal.like(command.stream, name=f"stream_{n}")
            place = Signal(range(config.max_heads + 1), name=f"place_{n}")
            m.d.comb += [port.p.slot.eq(command.slot), port.p.stream.eq(head)]
            with m.If(port.valid & port.ready):
                m.d.sync += place.eq(place + 1)
                with m.If(place == command.shared - 1):
                    m.d.sync += [place.eq(0), head.eq(head + 1)]
            with m.If(self.i_command.ready):
                m.d.sync += [head.eq(self.i_command.p.stream), place.eq(0)]
        m.d.comb += self.i_command.ready.eq(~Cat(left).any())
        with m.If(self.i_command.valid & self.i_command.ready):
            m.d.sync += [command.eq(self.i_command.p),
                         *(passes.eq(self.i_command.p.passes) for passes in left)]

        m.d.comb += scales.score_scale.eq(command.score_scale)
        inward = {"i_query": self.score.i_query, "i_key": self.score.i_row,
                  "i_value": self.weighted_sum.i_row, "i_query_scale": scales.i_scale}
        outward = {"o": self.weighted_sum.o, "o_scale": scales.o_scale}
        for name, port in inward.items():
            wiring.connect(m, wiring.flipped(getattr(self, name)), port)
        for name, port in outward.items():
            wiring.connect(m, port, wiring.flipped(getattr(self, name)))
        for q in range(config.queries):
            wiring.connect(m, scales.o_request[q], wiring.flipped(self.o_request[q]))
            wiring.connect(m, wiring.flipped(self.i_response[q]), scales.i_response[q])
        wiring.connect(m, self.score.o, self.softmax.i)
        wiring.connect(m, scales.o_unit, self.softmax.i_unit)
        wiring.connect(m, self.softmax.o_total, scales.i_total)
        wiring.connect(m, scales.o_ratio, self.softmax.i_ratio)
        # The softmax's banks are read without a look at the rows of values.
        m.submodules.room = room = Slack(self.softmax.o.payload.shape())
        wiring.connect(m, self.softmax.o, room.i)
        wiring.connect(m, room.o, self.weighted_sum.i_weight)
        return m
