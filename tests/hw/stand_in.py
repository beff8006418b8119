# SPDX-License-Identifier: Apache-2.0
"""A decoder's ports with next to nothing behind them: tokens are sums over what was read.

What follows a token depends on every token of its sequence and on beats of the image, so whatever
goes wrong around the decoder changes the text.
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.decoder_config import DecoderConfig
from hw.head.sampler import SAMPLING
from hw.image.port import beat_stream, burst_stream
from hw.kv.layouts import ERROR_LAYOUT, Operation, control_layout
from hw.quant.scale_lanes import SMALL_FLOAT

__all__ = ["BEATS", "FAULTY", "STATE_WORDS", "StandIn", "follow"]

BEATS = 5
"""Beats that each token reads, from the program on."""
STATE_WORDS = 3
"""Words of a saved sequence for each of its tokens."""
FAULTY = 200
"""A token that ends in a fault; no other one is followed by it."""
MASK = (1 << 24) - 1


def follow(state, token, beats, vocab):
    """State of a sequence after a token, and its successor."""
    total = 0
    for beat in beats[:BEATS]:
        total ^= beat & 0xFFFF
    state = (5 * state + token + total + 1) & MASK
    return state, (state ^ state >> 9) % (vocab // 2)


class StandIn(wiring.Component):
    """Ports of :class:`hw.decoder.Decoder`; `vocab` is a power of two."""

    def __init__(self, config: DecoderConfig, vocab=256):
        self.config = config
        self.vocab = vocab
        cache = config.attention.cache
        super().__init__({
            "i_token": In(stream.Signature(data.StructLayout({
                "token": 24, "slot": range(max(2, cache.slots)), "position": 20,
                "skip_head": 1}))),
            "program": In(data.StructLayout({"address": config.port.address_bits, "count": 16,
                                             "head_count": 16})),
            "o_token": Out(stream.Signature(data.StructLayout({"token": 24}))),
            "sampling": In(SAMPLING), "seed": In(32), "load_seed": In(1), "random_state": Out(32),
            "o_logit": Out(data.StructLayout({"valid": 1,
                                              "logit": signed(config.plane_sum.logit_bits),
                                              "last": 1})),
            "o_logit_scale": Out(SMALL_FLOAT),
            "o_request": Out(burst_stream(config.port)), "i_beats": In(beat_stream(config.port)),
            "i_control": In(stream.Signature(control_layout(cache))),
            "o_save": Out(stream.Signature(32)), "i_restore": In(stream.Signature(32)),
            "errors": Out(ERROR_LAYOUT), "corrected": Out(16), "clear_errors": In(1),
            "lengths": Out(data.ArrayLayout(range(cache.window + 1), cache.slots)),
            "fault": Out(1), "token_range": Out(1), "phase": Out(8), "layer": Out(8),
            "busy": Out(1), "progress": Out(1),
            "counts": Out(data.StructLayout(dict.fromkeys(
                ("stall_weights", "stall_vector", "stall_kv", "weight_beats"), 1))),
        })

    def elaborate(self, platform):
        m = Module()
        cache = self.config.attention.cache
        states = Array(Signal(24, name=f"state_{n}") for n in range(cache.slots))
        opened = Signal(cache.slots)
        job, asked = self.i_token.p, self.i_control.p
        state = Signal(24)
        left, total, words = Signal(8), Signal(16), Signal(30)
        with m.If(self.load_seed):
            m.d.sync += self.random_state.eq(self.seed)
        with m.If(self.clear_errors):
            m.d.sync += self.errors.eq(0)
        m.d.comb += [self.o_request.p.address.eq(self.program.address),
                     self.o_request.p.beats.eq(BEATS),
                     self.progress.eq(self.i_beats.valid & self.i_beats.ready),
                     self.counts.weight_beats.eq(self.progress)]
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [total.eq(0), left.eq(BEATS)]
                with m.If(self.i_control.valid):
                    m.next = "CONTROL"
                with m.Elif(self.i_token.valid):
                    m.d.sync += [self.fault.eq(0), self.phase.eq(1)]
                    m.next = "ASK"
            with m.State("CONTROL"):
                m.d.sync += [words.eq(asked.length * STATE_WORDS), state.eq(states[asked.slot])]
                with m.Switch(asked.op):
                    with m.Case(Operation.CONFIGURE):
                        m.d.sync += [opened.eq(0), *(one.eq(0) for one in states)]
                    with m.Case(Operation.CLEAR):
                        m.d.sync += [states[asked.slot].eq(0),
                                     opened.bit_select(asked.slot, 1).eq(1)]
                m.d.comb += self.i_control.ready.eq(1)
                m.next = "IDLE"
                with m.If(asked.op == Operation.SAVE):
                    m.d.sync += words.eq(self.lengths[asked.slot] * STATE_WORDS)
                    m.next = "SAVE"
                with m.Elif(asked.op == Operation.RESTORE):
                    m.d.sync += [opened.bit_select(asked.slot, 1).eq(1),
                                 self.lengths[asked.slot].eq(asked.length)]
                    m.next = "RESTORE"
                with m.Elif(asked.op == Operation.CLEAR):
                    m.d.sync += self.lengths[asked.slot].eq(0)
            with m.State("SAVE"):
                m.d.comb += [self.o_save.valid.eq(1), self.o_save.payload.eq(state ^ (words << 24))]
                with m.If(self.o_save.ready):
                    m.d.sync += words.eq(words - 1)
                    with m.If(words == 1):
                        m.next = "IDLE"
            with m.State("RESTORE"):
                m.d.comb += self.i_restore.ready.eq(1)
                with m.If(self.i_restore.valid):
                    m.d.sync += [words.eq(words - 1),
                                 states[asked.slot].eq(self.i_restore.payload)]
                    with m.If(words == 1):
                        m.next = "IDLE"
            with m.State("ASK"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.i_beats.ready.eq(1)
                with m.If(self.i_beats.valid):
                    m.d.sync += [total.eq(total ^ self.i_beats.payload), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.d.sync += [left.eq(job.token[:3]), self.phase.eq(2)]
                        m.next = "WORK"
            with m.State("WORK"):
                m.d.sync += [left.eq(left - 1),
                             state.eq(5 * states[job.slot] + job.token + total + 1)]
                with m.If(left == 0):
                    m.next = "GIVE"
                    with m.If(job.skip_head):
                        m.next = "END"
                    with m.If(job.token == FAULTY):
                        m.d.sync += self.fault.eq(1)
                        m.next = "END"
            with m.State("GIVE"):
                m.d.comb += [self.o_token.valid.eq(1),
                             self.o_token.p.token.eq((state ^ (state >> 9))[
                                 :self.vocab.bit_length() - 2])]
                with m.If(self.o_token.ready):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += self.i_token.ready.eq(1)
                with m.If(~self.fault):
                    m.d.sync += states[job.slot].eq(state)
                    with m.If(self.lengths[job.slot] != cache.window):
                        m.d.sync += self.lengths[job.slot].eq(self.lengths[job.slot] + 1)
                    with m.If(~opened.bit_select(job.slot, 1)):
                        m.d.sync += self.errors.slot.eq(1)
                m.d.sync += self.phase.eq(0)
                m.next = "IDLE"
        return m
