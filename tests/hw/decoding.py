# SPDX-License-Identifier: Apache-2.0
"""Drives a compiled decoder over an image in block RAM: tokens in; logits and cycles out."""

from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from golden_model import smallfloat
from golden_model.config import config_hash
from golden_model.cycles.facts import facts_of
from golden_model.cycles.token import DecoderCycles
from golden_model.exact import ExactDecoder
from golden_model.image_config import BlockMemoryConfig
from golden_model.kv.row_walk import Geometry
from golden_model.kv.slot_table import clear_cycles
from host.compile.compiler import compile_model
from hw.control.cycle_meter import COUNTS
from hw.decoder import Decoder
from hw.head.sampler import SAMPLING
from hw.image.block_memory import BlockMemory
from hw.kv.layouts import Operation, control_layout
from sim.compiled import CompiledModel
from tests.hw.quant.tokens import small

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
        for (_, member, inner), (_, _, outer) in zip(
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
    busy: int
    """Cycles of them in which it was in work."""
    counts: dict[str, int]
    fault: int
    outside: int
    """Cycles in which the token was said to be outside the vocabulary."""
    phases: list[tuple[int, int]]
    """Opcode and first cycle of each instruction, and of what lies between."""


class Runner:
    """One image in one running decoder; slots are configured and open."""

    def __init__(self, weights, config, build=Decoder, patience=100_000):
        self.config, self.patience = config, patience
        self.image, self.sections = compile_model(weights, config, config_hash(config))
        self.model = DecoderCycles(config, self.image.program,
                                   self.image.header["head_instructions"])
        self.bench = Bench(config, 1 << (len(self.image.beats) - 1).bit_length(), build)
        self.dut = CompiledModel(self.bench)
        for address, beat in enumerate(self.image.beats):
            self.write(address, int.from_bytes(beat.tobytes(), "little"))
        header, program = self.image.header, self.bench.decoder.program.shape()
        count = header["instructions"]
        self.dut.set("program", program.const({
            "address": header["program"], "count": count,
            "head_count": count - header["head_instructions"]}).as_bits())
        self.open()

    def write(self, address, beat):
        """Write a beat of the image."""
        layout = self.bench.i_write.payload.shape()
        self.dut.set("i_write__payload", layout.const({"address": address, "beat": beat}).as_bits())
        self.dut.set("i_write__valid", 1)
        self.dut.tick()
        self.dut.set("i_write__valid", 0)

    def expect(self, capture, rows, *, drawn=None, **how):
        """Cycles of a token whose products the exact model captured."""
        return self.model.token(facts_of(self.config, capture, rows, drawn=drawn), **how)

    def opening(self):
        """Cycles that a token waits which is offered right after its slot was emptied."""
        header = self.image.header
        return clear_cycles(Geometry(*(header[name] for name in Geometry._fields)))

    def open(self):
        """Empty the cache."""
        cache, header = self.config.attention.cache, self.image.header
        self.control(Operation.CONFIGURE, slots=cache.slots, streams=header["streams"],
                     words=header["words"], window=header["window"])
        for slot in range(cache.slots):
            self.control(Operation.CLEAR, slot=slot)

    def control(self, operation, **fields):
        """Give the cache a command."""
        layout = control_layout(self.config.attention.cache)
        self.dut.set("i_control__payload", layout.const({"op": operation, **fields}).as_bits())
        self.dut.set("i_control__valid", 1)
        self.dut.run_until("i_control__ready", 1, self.patience)
        self.dut.tick()
        self.dut.set("i_control__valid", 0)

    def sample(self, unit, seed):
        """Draw tokens from now on, or, without a unit, take the likeliest."""
        self.dut.set("sampling", SAMPLING.const({
            "unit": small(1.0 if unit is None else unit), "enable": unit is not None}).as_bits())
        self.dut.set("seed", seed)
        self.dut.set("load_seed", 1)
        self.dut.tick()
        self.dut.set("load_seed", 0)

    def logit_scale(self):
        """Scale of the latest logits."""
        return float(smallfloat.from_bits(np.array(self.dut.get("o_logit_scale"))))

    def step(self, token, position, slot=0, skip_head=False):
        """Run one token, or a list of them that share their weights, a look at every cycle."""
        dut, layout = self.dut, self.bench.i_token.payload.shape()
        what = {"token": token}
        if self.config.array.batch > 1:
            tokens = token if isinstance(token, list) else [token]
            what = {"tokens": tokens + [0] * (self.config.array.batch - len(tokens)),
                    "count": len(tokens)}
        dut.set("i_token__payload", layout.const({
            **what, "slot": slot, "position": position, "skip_head": skip_head}).as_bits())
        dut.set("i_token__valid", 1)
        dut.set("o_token__ready", 1)
        logits, cycles, following, outside, busy, done = [], 0, None, 0, 0, 0
        counts, phases = dict.fromkeys(COUNTS.members, 0), [(0, 0)]
        while not done:
            assert cycles < self.patience, "the token is never done"
            if dut.get("o_logit") & 1:
                logits.append(self._signed(dut.get("o_logit") >> 1))
            if dut.get("o_token__valid"):
                following = dut.get("o_token__payload")
            if dut.get("phase") != phases[-1][0]:
                phases.append((dut.get("phase"), cycles))
            outside += dut.get("token_range")
            busy += dut.get("busy")
            done = dut.get("i_token__ready")
            dut.tick()
            cycles += 1
            for bit, name in enumerate(counts):   # a cycle late
                counts[name] += dut.get("counts") >> bit & 1
        dut.set("i_token__valid", 0)
        return Step(following, logits, cycles, busy, counts, dut.get("fault"), outside, phases)

    def _signed(self, bits):
        width = self.config.plane_sum.logit_bits
        value = bits & (1 << width) - 1
        return value - (value >> width - 1 << width)


def compare(runner, weights, tokens, window):
    """Run tokens behind `open`; return the steps, and what of them is not the models'.

    That is how many logits and tokens, and how many cycles.
    """
    exact = ExactDecoder(weights, window=window)
    steps, wrong, late = [], 0, 0
    for position, token in enumerate(tokens):
        steps.append(runner.step(int(token), position))
        capture = {}
        logits = exact.forward([int(token)], capture)[0]
        wrong += logits.tolist() != steps[-1].logits
        wrong += int(np.argmax(logits)) != steps[-1].token
        late += steps[-1].cycles != runner.expect(
            capture, min(position + 1, window), wait=0 if position else runner.opening())
    return steps, wrong, late
