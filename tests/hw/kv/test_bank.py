# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth.sim import Simulator

from golden_model.kv.bank import MEMORIES
from golden_model.kv.bank import Bank as Golden
from golden_model.kv.row_walk import Address
from golden_model.kv.secded import State
from golden_model.kv_config import KvCacheConfig
from hw.kv import bank as unit
from hw.kv.bank import Bank

PLAIN = KvCacheConfig(lanes=3, rows=6, sinks=2, row_words=2, window=4)
PROTECTED = KvCacheConfig(lanes=3, rows=6, sinks=2, row_words=2, window=4, secded=True,
                          scrub_interval=1)
SHARED = KvCacheConfig(lanes=3, rows=6, sinks=2, row_words=2, window=4, ports="1rw")
SHARED_PROTECTED = KvCacheConfig(lanes=3, rows=6, sinks=2, row_words=2, window=4, ports="1rw",
                                 secded=True, scrub_interval=2)


def fields(at):
    return {**{name: int(value) for name, value in at._asdict().items()}, "poison": 0,
            "bare": 0}


def places(config):
    """Every word there is, in a random order, with scales all over."""
    rng = np.random.default_rng(8)
    depths = [(False, config.code_memory.depth), (True, config.sink_memory.depth)]
    scales = config.scale_memory.depth
    every = [Address(bos, code, int(rng.integers(scales)), True, bool(rng.integers(2)))
             for bos, depth in depths for code in range(depth)]
    return [every[n] for n in rng.permutation(len(every))]


class Pair:
    """A bank beside its golden model."""

    def __init__(self, config, ctx, dut):
        self.config, self.ctx, self.dut = config, ctx, dut
        self.golden = Golden(config, dut.keys)
        self.rng = np.random.default_rng(4)
        self.corrected = self.uncorrectable = 0

    async def tick(self, *signals):
        *_, corrected, uncorrectable = found = await self.ctx.tick().sample(
            *signals, self.dut.corrected, self.dut.uncorrectable)
        self.corrected += corrected
        self.uncorrectable += uncorrectable
        return found[2:-2]

    def write(self, at):
        codes = self.rng.integers(0, 16, self.config.lanes).tolist()
        scale = int(self.rng.integers(1 << 16))
        self.ctx.set(self.dut.i_write, {"at": fields(at), "codes": codes, "scale": scale})
        self.ctx.set(self.dut.write, 1)
        self.golden.write(at, codes, scale)
        if self.dut.keys:  # of a value row of another place's word, which is one too
            self.ctx.set(self.dut.write_scale, 1)
            self.golden.write_scale(at, scale)

    async def fill(self, every):
        for at in every:
            self.write(at)
            await self.tick()
        self.stop()
        await self.tick()

    def stop(self):
        self.ctx.set(self.dut.write, 0)
        if self.dut.keys:
            self.ctx.set(self.dut.write_scale, 0)

    async def rescale(self, at):
        """Store a value row's scale alone."""
        scale = int(self.rng.integers(1 << 16))
        self.ctx.set(self.dut.i_write, {"at": fields(at), "codes": [0] * self.config.lanes,
                                        "scale": scale})
        self.ctx.set(self.dut.write_scale, 1)
        self.golden.write_scale(at, scale)
        await self.tick()
        self.stop()
        await self.tick()

    async def read(self, every, stall=0.0):
        """Compare what is read, and return the cycles of addresses and words."""
        dut, ctx = self.dut, self.ctx
        todo, wanted, cycles, cycle = list(every), [], ([], []), 0
        while todo or wanted:
            ctx.set(dut.i_read.valid, int(bool(todo) and self.rng.random() >= stall))
            if todo:
                ctx.set(dut.i_read.payload, fields(todo[0]))
            ctx.set(dut.o.ready, int(self.rng.random() >= stall))
            sent, free, valid, ready, word = await self.tick(
                dut.i_read.valid, dut.i_read.ready, dut.o.valid, dut.o.ready, dut.o.payload)
            if sent and free:
                wanted.append((todo[0], self.golden.read(todo.pop(0))))
                cycles[0].append(cycle)
            if valid and ready:
                at, found = wanted.pop(0)
                scales = (word.scale, word.value_scale) if dut.keys else (0, 0)
                assert (tuple(word.codes), *scales) == found[:3], str(at)
                assert (word.bos, word.last_word, word.last) == (at.bos, at.last_word, at.last)
                cycles[1].append(cycle)
            cycle += 1
        ctx.set(dut.i_read.valid, 0)
        return cycles

    def flip(self, name, address, bit):
        cells = self.dut.memories[name].cells.data[address]
        self.ctx.set(cells, self.ctx.get(cells) ^ 1 << bit)
        self.golden.flip(name, address, bit)


def run(config, scenario, keys=True):
    dut = Bank(config, keys)

    async def testbench(ctx):
        await scenario(Pair(config, ctx, dut))

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize(("config", "latency"), [
    (PLAIN, 1), (PROTECTED, 2), (SHARED, 1), (SHARED_PROTECTED, 2)], ids=str)
def test_words_come_back_a_cycle_each(config, latency):
    assert config.bank_latency == latency

    async def scenario(pair):
        every = places(config)
        await pair.fill(every)
        sent, seen = await pair.read(every)
        assert sent == list(range(len(every)))
        assert [cycle - latency for cycle in seen] == sent
        await pair.read(every, stall=0.4)
        assert (pair.corrected, pair.uncorrectable) == (0, 0)

    run(config, scenario)


@pytest.mark.parametrize("config", [PLAIN, SHARED_PROTECTED], ids=str)
def test_values_have_no_scales(config):
    async def scenario(pair):
        every = places(config)
        await pair.fill(every)
        await pair.read(every, stall=0.4)
        assert set(pair.dut.memories) == set(MEMORIES[:2])

    run(config, scenario, keys=False)


@pytest.mark.parametrize("config", [PLAIN, PROTECTED, SHARED], ids=str)
def test_scales_of_values_come_by_themselves(config):
    async def scenario(pair):
        every = places(config)
        await pair.fill(every)
        for at in every[::3]:
            await pair.rescale(at)
        await pair.read(every)
        bare = [fields(at) | {"bare": 1} for at in every[:4]]
        for at, place in zip(every, bare):
            pair.ctx.set(pair.dut.i_read.payload, place)
            pair.ctx.set(pair.dut.i_read.valid, 1)
            pair.ctx.set(pair.dut.o.ready, 1)
            await pair.tick()
            pair.ctx.set(pair.dut.i_read.valid, 0)
            valid, word = False, None
            while not valid:
                valid, word = await pair.tick(pair.dut.o.valid, pair.dut.o.payload)
            assert (word.scale, word.value_scale) == (pair.golden.read(at).scale, 0)

    run(config, scenario)


def test_writes_go_on_beside_reads():
    config = KvCacheConfig(lanes=2, rows=8, sinks=4, row_words=1, window=4)

    async def scenario(pair):
        every = [Address(False, n, n, True, False) for n in range(4)]
        await pair.fill(every)
        pair.write(Address(False, 7, 7, True, False))  # in every cycle, again and again
        sent, _ = await pair.read(every)
        assert sent == [0, 1, 2, 3]

    run(config, scenario)


def test_a_shared_port_writes_first():
    config = KvCacheConfig(lanes=2, rows=8, sinks=4, row_words=1, window=4, ports="1rw")

    async def scenario(pair):
        pair.write(Address(False, 7, 7, True, False))
        await pair.tick()
        pair.ctx.set(pair.dut.i_read.valid, 1)
        for _ in range(20):
            ready, = await pair.tick(pair.dut.i_read.ready)
            assert not ready

    run(config, scenario)


@pytest.mark.parametrize("name", MEMORIES)
def test_every_flipped_bit_of_a_row_is_corrected_on_the_way_out(name):
    config = KvCacheConfig(lanes=3, rows=6, sinks=2, row_words=2, window=4, secded=True,
                           scrub_interval=1000)

    async def scenario(pair):
        every = places(config)
        await pair.fill(every)
        at = Address(name == "sinks", 1, 3, True, False)
        await pair.fill([at])
        golden = pair.golden.read(at)
        width = pair.dut.memories[name].config.width
        address = 3 if name in MEMORIES[2:] else 1
        for bit in range(width):
            pair.flip(name, address, bit)
            pair.corrected = 0
            assert pair.golden.read(at) == golden._replace(state=State.CORRECTED)
            await pair.read([at])
            assert (pair.corrected, pair.uncorrectable) == (1, 0)
            pair.flip(name, address, bit)
        for bit in range(width):
            pair.flip(name, address, bit)
            pair.flip(name, address, (bit + 1) % width)
            pair.uncorrectable = 0
            await pair.read([at])
            assert pair.uncorrectable == 1
            pair.flip(name, address, bit)
            pair.flip(name, address, (bit + 1) % width)

    run(config, scenario)


@pytest.mark.parametrize("config", [PROTECTED, SHARED_PROTECTED], ids=str)
def test_idle_cycles_mend_every_word(config):
    async def scenario(pair):
        every = places(config)
        await pair.fill(every)
        for name in MEMORIES:
            memory = pair.dut.memories[name].config
            for address in range(memory.depth):
                pair.flip(name, address, int(pair.rng.integers(memory.width)))
        depth = max(memory.depth for memory in config.key_memories)
        for _ in range((config.scrub_interval + 2) * depth + 10):
            await pair.tick()
        for number in range(depth):
            assert pair.golden.scrub(number) is State.CORRECTED
        assert pair.corrected == depth
        for name in MEMORIES:
            for address, word in enumerate(pair.golden.words[name]):
                assert pair.ctx.get(pair.dut.memories[name].cells.data[address]) == word
        pair.corrected = 0
        await pair.read(every, stall=0.4)
        assert (pair.corrected, pair.uncorrectable) == (0, 0)

    run(config, scenario)


def test_scrubbing_reports_two_flips_and_leaves_them():
    async def scenario(pair):
        await pair.fill(places(PROTECTED))
        pair.flip("codes", 5, 0)
        pair.flip("codes", 5, 9)
        for _ in range(30):
            await pair.tick()
        assert pair.uncorrectable >= 1
        cells = pair.dut.memories["codes"].cells.data
        assert pair.ctx.get(cells[5]) == pair.golden.words["codes"][5]

    run(PROTECTED, scenario)


@pytest.mark.parametrize("config", [PROTECTED, SHARED_PROTECTED], ids=str)
def test_scrubbing_loses_no_write_and_no_read(config):
    """Words are written, read and flipped all the time, with cycles between for scrubbing."""
    async def scenario(pair):
        every = places(config)
        await pair.fill(every)
        for _ in range(40):
            name = str(pair.rng.choice(MEMORIES))
            memory = pair.dut.memories[name].config
            pair.flip(name, int(pair.rng.integers(memory.depth)),
                      int(pair.rng.integers(memory.width)))
            for _ in range(int(pair.rng.integers(3))):
                await pair.tick()
            await pair.fill([every[n] for n in pair.rng.permutation(len(every))[:2]])
            await pair.read([every[n] for n in pair.rng.permutation(len(every))[:3]], stall=0.3)
            for _ in range((config.scrub_interval + 2) * 16):  # one flip at a time
                await pair.tick()
            for number in range(16):
                pair.golden.scrub(number)
        assert pair.uncorrectable == 0

    run(config, scenario)


def test_wiping_writes_zeros_everywhere():
    async def scenario(pair):
        every = places(PROTECTED)
        await pair.fill(every)
        pair.ctx.set(pair.dut.wipe, 1)
        await pair.tick()
        pair.ctx.set(pair.dut.wipe, 0)
        cycles = 0
        while (await pair.tick(pair.dut.wiping))[0]:
            cycles += 1
        assert cycles == 12
        pair.golden = Golden(PROTECTED)
        await pair.read(every)
        assert (pair.corrected, pair.uncorrectable) == (0, 0)

    run(PROTECTED, scenario)


def test_a_planted_bug_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "encode", lambda width, word: word)
    with pytest.raises(AssertionError):
        test_words_come_back_a_cycle_each(PROTECTED, 2)
