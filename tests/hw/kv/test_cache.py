# SPDX-License-Identifier: Apache-2.0
import pytest
from amaranth import C

from golden_model.kv.reader import READER_LATENCY, address_cycles
from golden_model.kv.row_walk import Geometry
from golden_model.kv.slot_table import clear_cycles, configure_cycles
from golden_model.kv_config import KvCacheConfig
from hw.kv import cache
from hw.kv.layouts import Operation
from hw.kv.slot_table import SlotTable
from tests.hw.kv import bench
from tests.hw.kv.bench import Bench
from tests.mutants import mutant

SMALL = KvCacheConfig(lanes=2, rows=24, sinks=6, row_words=3, window=5, slots=3)
PROTECTED = KvCacheConfig(lanes=3, rows=18, sinks=6, row_words=2, window=4, slots=2, secded=True,
                          scrub_interval=1)
SHARED = KvCacheConfig(lanes=1, rows=10, sinks=5, row_words=1, window=3, slots=1, kv_bits=4,
                       ports="1rw")
WIDE = KvCacheConfig(lanes=11, rows=9, sinks=1, row_words=2, window=10, slots=1)
CASES = {"small": (SMALL, (3, 2, 3, 5)), "protected": (PROTECTED, (2, 3, 2, 4)),
         "shared": (SHARED, (1, 5, 1, 3)), "wide": (WIDE, (1, 1, 2, 10)),
         "pair": (SMALL, (1, 2, 1, 2))}


async def opened(bench, *geometry):
    bench.configure(*geometry)
    for slot in range(geometry[0]):
        bench.control(Operation.CLEAR, slot=slot)
    await bench.drain()


def read_all(bench, slot):
    for stream in range(bench.golden.geometry.streams):
        for value in (False, True):
            bench.read(slot, stream, value)


@pytest.mark.parametrize("name", CASES)
def test_reads_give_what_a_token_sees(name):
    """Every length up to beyond the window, ahead of a token's rows and behind them."""
    config, geometry = CASES[name]

    async def scenario(bench):
        await opened(bench, *geometry)
        for _ in range(geometry[3] + 3):
            for slot in range(geometry[0]):
                if bench.golden.length(slot):
                    read_all(bench, slot)
                bench.token(slot)
                await bench.drain()
                read_all(bench, slot)
                bench.control(Operation.ADVANCE, slot=slot)
            await bench.drain()
            bench.check_lengths()
        await bench.check_errors()

    Bench(config).run(scenario)


async def at_once(bench):
    """Append to all slots and read all streams together, in whatever order that is taken."""
    geometry = bench.golden.geometry
    for _ in range(3):
        for slot in range(geometry.slots):
            bench.token(slot)
        for _ in range(12):
            bench.read(int(bench.rng.integers(geometry.slots)),
                       int(bench.rng.integers(geometry.streams)), bench.rng.random() < 0.5)
        await bench.drain()
        for slot in range(geometry.slots):
            bench.control(Operation.ADVANCE, slot=slot)
        await bench.drain()
    await bench.check_errors()


@pytest.mark.parametrize("name", ["small", "protected", "shared"])
def test_appends_and_reads_at_once(name):
    config, geometry = CASES[name]

    async def scenario(bench):
        await opened(bench, *geometry)
        for slot in range(geometry[0]):
            await bench.tokens(slot, geometry[3] - 1)
        await at_once(bench)

    Bench(config, stall=0.3, seed=4).run(scenario)


@pytest.mark.parametrize("name", ["small", "protected", "wide"])
def test_a_saved_sequence_can_be_restored(name):
    """Shorter than the window, as long, and with a ring that has wrapped; then it goes on."""
    config, geometry = CASES[name]
    window = geometry[3]

    async def scenario(bench):
        await opened(bench, *geometry)
        for count in (1, 2, window, window + 2):
            bench.control(Operation.CLEAR, slot=0)
            await bench.drain()
            await bench.tokens(0, count)
            bench.saved.clear()
            bench.control(Operation.SAVE, slot=0)
            await bench.drain()
            slot = geometry[0] - 1
            bench.queues["i_restore"].extend(bench.saved)
            bench.control(Operation.RESTORE, slot=slot, length=min(count, window))
            await bench.drain()
            bench.check_lengths()
            read_all(bench, slot)
            await bench.drain()
            await bench.tokens(slot, 1)
            read_all(bench, slot)
            await bench.drain()
        await bench.check_errors()

    Bench(config, stall=0.2).run(scenario)


def test_a_save_waits_for_words_that_were_read():
    """Also for one that nobody takes, when all addresses are given."""
    config, geometry = CASES["small"]

    async def scenario(bench):
        await opened(bench, *geometry)
        await bench.tokens(0, 1)
        for seed in range(6):
            bench.saved.clear()
            bench.read(0, 0, bool(seed % 2))
            while any(bench.queues.values()):
                await bench.step()
            bench.stall = 0.95
            for _ in range(10):
                await bench.step()
            bench.control(Operation.SAVE, slot=0)
            await bench.drain()
            bench.stall = 0.0
        await bench.check_errors()

    Bench(config).run(scenario)


def test_a_save_that_does_not_wait_is_noticed(monkeypatch):
    monkeypatch.setattr(bench, "KvCache", mutant(
        cache.KvCache, "& ~Cat(each.o.valid for each in rooms).any()", ""))
    with pytest.raises(AssertionError, match=r"^o_"):
        test_a_save_waits_for_words_that_were_read()


def test_slots_do_not_touch_each_other():
    async def scenario(bench):
        await opened(bench, 3, 2, 2, 4)
        await bench.tokens(0, 5)
        await bench.tokens(2, 1)
        bench.control(Operation.CLEAR, slot=1)
        await bench.tokens(1, 2)
        bench.control(Operation.CLEAR, slot=0)
        await bench.drain()
        for slot in (1, 2):
            read_all(bench, slot)
        await bench.tokens(0, 1)
        read_all(bench, 0)
        bench.check_lengths()
        await bench.check_errors()

    Bench(SMALL).run(scenario)


def test_every_misuse_sets_its_error_and_gives_zeros():
    async def scenario(bench):
        for geometry in ((0, 2, 3, 5), (3, 0, 3, 5), (3, 2, 0, 5), (3, 2, 3, 1), (3, 3, 3, 5),
                         (3, 7, 3, 2)):
            bench.configure(*geometry)
            await bench.check_errors("geometry")
        bench.read(0, 0, False)
        await bench.check_errors("slot")  # nothing is configured
        bench.configure(2, 2, 2, 4)
        bench.control(Operation.CLEAR, slot=2)
        await bench.check_errors("slot")
        bench.read(1, 0, True)
        await bench.check_errors("slot")  # not open
        bench.control(Operation.ADVANCE, slot=1)
        await bench.check_errors("slot")
        bench.append(1, 0, True)
        await bench.check_errors("slot")
        bench.read(1, 0, True, newest=True)
        await bench.check_errors("slot")  # nothing to wait for
        bench.control(Operation.SAVE, slot=1)
        await bench.check_errors("slot")

        for slot in (0, 1):
            bench.control(Operation.CLEAR, slot=slot)
        bench.read(0, 1, False)
        await bench.check_errors("unwritten")
        bench.control(Operation.SAVE, slot=0)
        await bench.check_errors("unwritten")
        bench.control(Operation.ADVANCE, slot=0)
        await bench.check_errors("incomplete")
        bench.append(0, 1, False)
        bench.append(0, 1, False)
        await bench.drain()
        bench.control(Operation.SAVE, slot=0)
        bench.read(0, 1, True)
        await bench.check_errors("overwrite", "incomplete", "unwritten")
        bench.read(0, 1, False)
        bench.read(0, 2, False)
        bench.append(0, 2, False)
        await bench.check_errors("stream")
        bench.append(0, 0, False)
        for stream in (0, 1):
            bench.append(0, stream, True)
        await bench.drain()
        bench.control(Operation.ADVANCE, slot=0)
        read_all(bench, 0)
        bench.control(Operation.RESTORE, slot=1, length=0)
        bench.control(Operation.RESTORE, slot=1, length=5)
        await bench.check_errors("length")
        bench.control(Operation.RESTORE, slot=2, length=1)
        await bench.check_errors("slot")

        for words in (1, 3, 4):
            await bench.tokens(1, 2)
            bench.append(1, 1, True, bench.random_row(words))
            await bench.check_errors("row")
            bench.read(1, 0, False)
            bench.read(0, 0, False)
            await bench.check_errors("slot")
            bench.control(Operation.CLEAR, slot=1)
            await bench.drain()
        await bench.tokens(1, 1)
        read_all(bench, 1)
        await bench.check_errors()

    Bench(SMALL, stall=0.2, seed=3).run(scenario)


@pytest.mark.parametrize(("name", "latency"), [("small", 3), ("protected", 4), ("shared", 3)])
def test_reads_take_a_cycle_a_word(name, latency):
    """Back to back as well: no gap between rows, and none between commands."""
    config, geometry = CASES[name]
    assert config.read_latency == READER_LATENCY + config.bank_latency == latency

    async def scenario(bench):
        await opened(bench, *geometry)
        await bench.tokens(0, geometry[3] + 1)
        begin = bench.cycle
        for value in (False, True):
            for _ in range(2):
                for stream in range(geometry[1]):
                    bench.read(0, stream, value)
        await bench.drain()
        words = geometry[3] * geometry[2]
        wanted = address_cycles([(begin, words)] * 2 * geometry[1])
        for name in ("o_k", "o_v"):
            got = bench.cycles[name][-len(wanted):]
            assert got == [cycle + config.bank_latency for cycle in wanted]
            assert got == list(range(begin + latency, begin + latency + len(wanted)))

    Bench(config).run(scenario)


def test_cycles_of_appends_and_operations():
    geometry = Geometry(3, 2, 3, 5)

    async def scenario(bench):
        begin = bench.cycle
        bench.configure(*geometry)
        for slot in range(3):
            bench.control(Operation.CLEAR, slot=slot)
        await bench.drain()
        times = [begin]
        for took in (configure_cycles(geometry), clear_cycles(geometry), clear_cycles(geometry)):
            times.append(times[-1] + took + 1)  # the cache sees the table's end a cycle later
        assert bench.cycles["i_control"] == times
        begin = bench.cycle
        bench.token(0)
        await bench.drain()
        assert bench.cycles["i_append"] == [begin + 5 * n for n in range(4)]
        assert bench.cycles["i_row"] == [begin + 5 * n + word for n in range(4)
                                         for word in (2, 3, 4)]

    assert (configure_cycles(geometry), clear_cycles(geometry)) == (11, 3)
    Bench(SMALL).run(scenario)


class Forgetful(SlotTable):
    """The ring never moves on."""

    def grow(self, m, slot):
        with m.If(slot.length != self.geometry.window):
            m.d.sync += slot.length.eq(slot.length + 1)


@pytest.mark.parametrize(("name", "broken"), [
    ("same_rows", lambda *_: C(0)), ("SlotTable", Forgetful)], ids=["overtaken", "never_moves"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(cache, name, broken)
    with pytest.raises(AssertionError, match=r"^o_[kv]: "):
        test_appends_and_reads_at_once("small")


def test_a_cache_that_does_not_fit_is_refused_with_bits_and_knobs():
    """Block RAM of an UP5K against the demo model at a window of 128, and one that fits."""
    large = KvCacheConfig(lanes=32, rows=12 * 127, sinks=12, window=128)
    assert large.memory_bits == 2 * (12 * 127 * 96 + 12 * 128 + (12 * 127 + 12) * 16)
    large.check_fits(large.memory_bits, "just that")
    with pytest.raises(ValueError, match=(
            r"^the KV cache takes 344832 bits of memory, up5k has 122880: lower rows \(1524: slots "
            r"\* streams \* \(window - 1\)\) by way of the window or slots, or kv_bits$")):
        large.check_fits(30 * 4096, "up5k")
    KvCacheConfig(lanes=32, rows=12 * 31, sinks=12, window=32).check_fits(30 * 4096, "up5k")


def test_a_row_takes_few_bits_an_element():
    """3.25 at a head_dim of 64, scales included."""
    assert KvCacheConfig(lanes=64).bits_per_element(64) == 3.25
    assert KvCacheConfig(lanes=32).bits_per_element(32) == 3.5
    assert KvCacheConfig(lanes=64).bits_per_element(128) == 3.125
