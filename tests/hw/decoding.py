# SPDX-License-Identifier: Apache-2.0
"""Drives a compiled decoder over an image in block RAM: tokens in, logits, tokens and cycles out."""

from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import config_hash
from golden_model.exact import ExactDecoder
from golden_model.image_config import BlockMemoryConfig
from host.compile.compiler import compile_model
from hw.decoder import Decoder
from hw.image.block_memory import BlockMemory
from hw.kv.layouts import Operation, control_layout
from sim.compiled import CompiledModel

PATIENCE = 400_000
MEMORY_PORTS = ("o_request", "i_beats")


class Bench(wiring.Component):
    """A decoder and the memory of its image."""

    def __init__(self, config, depth, build=Decoder):
        self.decoder = build(config)
        self.memory = BlockMemory(BlockMemoryConfig(port=config.port, depth=depth))
        super().__init__({**{name: member for name, member in
                             self.decoder.signature.members.items() if name not in MEMORY_PORTS},
                          "i_write": self.memory.signature.members["i_write"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder, m.submodules.memory = decoder, memory = self.decoder, self.memory
        wiring.connect(m, decoder.o_request, memory.i_request)
        wiring.connect(m, memory.o, decoder.i_beats)
        for (path, member, inner), (_, _, outer) in zip(
                *(list(self._ports(of).flatten(of)) for of in (decoder, self))):
            to, of = (inner, outer) if member.flow is In else (outer, inner)
            m.d.comb += to.eq(of)
        wiring.connect(m, wiring.flipped(self.i_write), memory.i_write)
        return m

    @staticmethod
    def _ports(of):
        return wiring.Signature({name: member for name, member in of.signature.members.items()
                                 if name not in (*MEMORY_PORTS, "i_write")})


class Step(NamedTuple):
    """What one token gave."""

    token: int | None
    """The next one; None without a head."""
    logits: list[int]
    cycles: int
    """From the token's offer to its acceptance, both included."""


class Runner:
    """One image in one running decoder; slots are configured and open."""

    def __init__(self, weights, config, build=Decoder, window=None):
        self.config, cache = config, config.attention.cache
        self.image, self.sections = compile_model(weights, config, config_hash(config))
        self.bench = Bench(config, 1 << (len(self.image.beats) - 1).bit_length(), build)
        self.dut = CompiledModel(self.bench)
        write = self.bench.i_write.payload.shape()
        self.dut.set("i_write__valid", 1)
        for address, beat in enumerate(self.image.beats):
            self.dut.set("i_write__payload", write.const({
                "address": address, "beat": int.from_bytes(beat.tobytes(), "little")}).as_bits())
            self.dut.tick()
        self.dut.set("i_write__valid", 0)
        header, program = self.image.header, self.bench.decoder.program.shape()
        count = header["instructions"]
        self.dut.set("program", program.const({
            "address": header["program"], "count": count,
            "head_count": count - header["head_instructions"]}).as_bits())
        self.control(Operation.CONFIGURE, slots=cache.slots, streams=header["streams"],
                     words=header["words"], window=window or header["window"])
        for slot in range(cache.slots):
            self.control(Operation.CLEAR, slot=slot)

    def control(self, operation, **fields):
        """Give the cache a command."""
        layout = control_layout(self.config.attention.cache)
        self.dut.set("i_control__payload", layout.const(
            {"op": operation, **fields}).as_bits())
        self.dut.set("i_control__valid", 1)
        self.dut.run_until("i_control__ready", 1, PATIENCE)
        self.dut.tick()
        self.dut.set("i_control__valid", 0)

    def step(self, token, position, slot=0, skip_head=False):
        """Run one token."""
        dut, layout = self.dut, self.bench.i_token.payload.shape()
        dut.set("i_token__payload", layout.const({
            "token": token, "slot": slot, "position": position,
            "skip_head": skip_head}).as_bits())
        dut.set("i_token__valid", 1)
        dut.set("o_token__ready", 1)
        logits, cycles, following = [], 0, None
        while not skip_head:
            logit = dut.get("o_logit")
            if logit & 1:
                logits.append(self._signed(logit >> 1))
            if dut.get("o_token__valid"):
                following = dut.get("o_token__payload")
                dut.tick()
                cycles += 1
                break
            dut.tick()
            cycles += 1
            if cycles > PATIENCE:
                raise AssertionError("no token")
        cycles += dut.run_until("i_token__ready", 1, PATIENCE) + 1
        dut.tick()
        dut.set("i_token__valid", 0)
        return Step(following, logits, cycles)

    def _signed(self, bits):
        width = self.config.plane_sum.logit_bits
        value = bits & (1 << width) - 1
        return value - (value >> width - 1 << width)


def compare(runner, weights, tokens, window, slot=0):
    """Run tokens; return the cycles of each and how many logits and tokens are not the model's."""
    exact = ExactDecoder(weights, window=window)
    cycles, wrong = [], 0
    for position, token in enumerate(tokens):
        step = runner.step(int(token), position, slot)
        logits = exact.forward([int(token)])[0]
        wrong += int(not np.array_equal(logits, step.logits)) + (
            step.token != int(np.argmax(logits)))
        cycles.append(step.cycles)
    return cycles, wrong
