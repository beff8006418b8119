# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model.control import sequencer as golden
from golden_model.control_config import SequencerConfig
from golden_model.image_config import BlockMemoryConfig, ImagePortConfig
from golden_model.instruction_config import FIELDS, INSTRUCTION_BITS, OPCODE_BITS, OPCODES
from golden_model.program import Instruction, encode
from hw.control.sequencer import Sequencer
from hw.image.block_memory import BlockMemory
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [SequencerConfig(port=ImagePortConfig(beat_bits=bits, address_bits=10))
           for bits in (128, 208, 512)]


class SequencerWithMemory(Elaboratable):
    def __init__(self, config, build):
        self.sequencer = build(config)
        self.memory = BlockMemory(BlockMemoryConfig(port=config.port, depth=100))

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer, m.submodules.memory = one, other = self.sequencer, self.memory
        wiring.connect(m, one.o_request, other.i_request)
        wiring.connect(m, other.o, one.i_beats)
        return m


def contents(config, seed=1):
    """Memory of random instructions; one is an ``end``, and one is none at all."""
    rng = np.random.default_rng(seed)
    names = [name for name in FIELDS if name != "end"]
    code = [Instruction(name, {field: int(rng.integers(1 << bits))
                               for field, bits in FIELDS[name].items()})
            for name in rng.choice(names, 16)]
    words = [encode(one) for one in code]
    words[9], words[14] = 0, (1 << OPCODE_BITS) - 1
    mask = (1 << config.port.beat_bits) - 1
    memory = [word >> n * config.port.beat_bits & mask for word in words
              for n in range(config.beats)]
    return [3] * 2 + memory + [0] * (98 - len(memory))


def run(config, runs, stall=0.0, build=Sequencer, busy=0):
    """Words that are handed out, faults behind each run, and the cycles of both."""
    dut = SequencerWithMemory(config, build)
    got, offered, ended, faults = [], [], [], []
    total = sum(len(golden.execute(config, contents(config), *one).instructions) for one in runs)
    start = 100

    async def load(ctx):
        await send(ctx, dut.memory.i_write,
                   [{"address": n, "beat": beat} for n, beat in enumerate(contents(config))])

    async def source(ctx):
        await ctx.tick().repeat(start)
        for address, count in runs:
            await send(ctx, dut.sequencer.i_run, [{"address": address, "count": count}], log=ended)
            faults.append(ctx.get(dut.sequencer.fault))

    async def execute(ctx):
        await ctx.tick().repeat(start)
        if stall:
            await receive(ctx, dut.sequencer.o, total, got, stall=stall)
            return
        cycle = 0
        while len(got) < total:
            *_, valid, payload = await ctx.tick().sample(dut.sequencer.o.valid,
                                                         dut.sequencer.o.payload)
            cycle += 1
            if valid:
                offered.append(cycle - 1)
                for _ in range(busy - 1):
                    await ctx.tick()
                ctx.set(dut.sequencer.o.ready, 1)
                await ctx.tick()
                ctx.set(dut.sequencer.o.ready, 0)
                cycle += busy
                got.append(payload)

    async def watch(ctx):
        while len(faults) < len(runs):
            *_, valid, payload, op, others = await ctx.tick().sample(
                dut.sequencer.o.valid, dut.sequencer.o.payload, dut.sequencer.op,
                dut.sequencer.others)
            assert op == valid << payload.opcode, "op is not the opcode"
            assert others == ~op & (1 << len(OPCODES)) - 1, "others are not the rest"
    simulate(dut, load, source, execute, watch)
    return [one.opcode | one.fields << OPCODE_BITS for one in got], faults, offered, ended


RUNS = [(2, 1), (2, 4), (2, 12), (2, 16)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.3, 0.8])
def test_matches_golden_model(config, stall):
    runs = [*RUNS, (2 + 10 * config.beats, 6), (2, 2)]
    words, faults, *_ = run(config, runs, stall)
    results = [golden.execute(config, contents(config), *one) for one in runs]
    assert [len(one.instructions) for one in results] == [1, 4, 10, 10, 4, 2]
    assert words == [encode(each) for one in results for each in one.instructions]
    assert faults == [int(one.fault) for one in results] == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("busy", [1, 5, 20])
def test_takes_the_cycles_of_the_golden_model(config, busy):
    _, _, offered, ended = run(config, [(2, 6)], busy=busy)
    assert (offered, ended[0]) == golden.schedule(config, 2, [busy] * 6)
    _, _, offered, _ = run(config, [(2 + 10 * config.beats, 6)], busy=busy)
    assert offered == golden.schedule(config, 2, [busy] * 4, more=True)[0]


def test_cycles_are_pinned():
    config = CONFIGS[1]
    assert config.beats == -(-INSTRUCTION_BITS // 208) == 2
    assert golden.schedule(config, 2, [1, 9, 9]) == ([6, 11, 21], 31)


@pytest.mark.parametrize(("old", "new"), [
    ("(left == 0) | (fetched", "(left == 1) | (fetched"),
    ("fetched.opcode < len(OPCODES)", "fetched.opcode < len(OPCODES) + 9"),
    ("self.fault.eq(~known)", "self.fault.eq(0)"),
    ("OPCODES[\"end\"]) | ~known", "OPCODES[\"end\"])"),
    ("address + config.beats", "address + 1"),
    ("fetched.opcode == n)", "fetched.opcode == n ^ 1)"),
    ("full & (fetched.opcode", "(fetched.opcode"),
    ("others.eq(~chosen)", "others.eq(chosen)"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    config = CONFIGS[1]
    runs = [(2, 4), (2 + 10 * config.beats, 6)]
    results = [golden.execute(config, contents(config), *one) for one in runs]
    try:
        words, faults, *_ = run(config, runs, 0.8, build=mutant(Sequencer, old, new))
    except AssertionError:
        return   # it hangs
    assert (words, faults) != ([encode(each) for one in results for each in one.instructions],
                               [int(one.fault) for one in results])
