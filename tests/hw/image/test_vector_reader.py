# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.image import vector_reader as golden
from golden_model.image.splitter import join
from golden_model.image_config import ImagePortConfig, VectorReaderConfig
from hw.image.vector_reader import VectorReader
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

PORT = ImagePortConfig(beat_bits=20, address_bits=12, count_bits=6)
CONFIGS = [VectorReaderConfig(port=PORT, word_bits=9, max_words=12),
           VectorReaderConfig(port=PORT, word_bits=20, max_words=7, max_passes=3)]


def jobs(config, seed=1):
    """Vectors, each with the passes of its reads."""
    rng = np.random.default_rng(seed)
    for words, reads in ((1, [1, 2]), (config.max_words, [3]), (5, [2, 1]), (2, [1])):
        yield rng.integers(0, 1 << config.word_bits, words).tolist(), reads


def run(config, stall=0.0, build=VectorReader):
    """Words that were read, their cycles, and where loads went."""
    dut, got, requests, taken = build(config), [], [], []
    given = list(jobs(config))

    async def control(ctx):
        address = 0
        for words, reads in given:
            beats = join(config.splitter, words)
            await send(ctx, dut.i_load, [{"burst": {"address": address, "beats": len(beats)},
                                          "words": len(words)}])
            await send(ctx, dut.i_read, [{"passes": passes} for passes in reads])
            address += len(beats)

    async def memory(ctx):
        for words, _ in given:
            await receive(ctx, dut.o_request, 1, one := [], stall=stall)
            requests.append((one[0].address, one[0].beats))
            await send(ctx, dut.i_beats, join(config.splitter, words), stall=stall, log=taken)

    async def sink(ctx):
        await receive(ctx, dut.o, sum(len(words) * sum(reads) for words, reads in given), got,
                      stall=stall)
    simulate(dut, control, memory, sink)
    return got, requests


def expected(config):
    words, requests, address = [], [], 0
    for vector, reads in jobs(config):
        beats = join(config.splitter, vector)
        words += golden.given(config, beats, len(vector), sum(reads))
        requests.append((address, len(beats)))
        address += len(beats)
    return words, requests


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.6], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    assert run(config, stall) == expected(config)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_words_follow_their_beats(config):
    """The first pass reads behind the writing."""
    dut, got, cycles, taken = VectorReader(config), [], [], []
    words, passes = list(range(1, config.max_words + 1)), 3
    beats = join(config.splitter, words)

    async def load(ctx):
        await send(ctx, dut.i_load, [{"burst": {"address": 5, "beats": len(beats)},
                                      "words": len(words)}])
        await send(ctx, dut.i_read, [{"passes": passes}])

    async def memory(ctx):
        ctx.set(dut.o_request.ready, 1)
        await ctx.tick().repeat(3)
        await send(ctx, dut.i_beats, beats, log=taken)

    async def sink(ctx):
        await receive(ctx, dut.o, len(words) * passes, got, log=cycles)
    simulate(dut, load, memory, sink)
    assert got == words * passes
    assert cycles == golden.schedule(config, len(words), passes, 3 + taken[0])
    assert cycles[0] == 6


@pytest.mark.parametrize(("old", "new"), [
    ("(place != loaded)", "1"),
    ("given + 1 == self.i_read.p.passes", "given == self.i_read.p.passes"),
    ("m.d.sync += [loading.eq(1), loaded.eq(0),", "m.d.sync += [loading.eq(1),"),
])
def test_planted_bugs_are_seen(old, new):
    config = CONFIGS[0]
    try:
        result = run(config, 0.6, mutant(VectorReader, old, new))
    except AssertionError:
        return
    assert result != expected(config)


def several(build=VectorReader):
    """Words read of the vectors of three tokens, loaded first, then read in another order."""
    config = VectorReaderConfig(port=PORT, word_bits=9, max_words=12, batch=3)
    dut, rng, got = build(config), np.random.default_rng(4), []
    vectors = rng.integers(0, 512, (3, 7)).tolist()
    beats, order = [join(config.splitter, words) for words in vectors], [1, 0, 2, 1]

    async def control(ctx):
        await send(ctx, dut.i_load, [{"burst": {"address": 9, "beats": len(beats[0])}, "words": 7,
                                      "token": token} for token in range(3)])
        await send(ctx, dut.i_read, [{"passes": 2, "token": token} for token in order])

    async def memory(ctx):
        for one in beats:
            await receive(ctx, dut.o_request, 1, [])
            await send(ctx, dut.i_beats, one)

    async def sink(ctx):
        await receive(ctx, dut.o, 14 * len(order), got)
    simulate(dut, control, memory, sink)
    return got, [word for token in order for word in 2 * vectors[token]]


def test_each_token_has_a_vector():
    got, wanted = several()
    assert got == wanted


def test_a_vector_of_the_wrong_token_is_noticed():
    got, wanted = several(mutant(VectorReader, "write.addr.eq(self.place(loaded, token))",
                                 "write.addr.eq(self.place(loaded, self.i_load.p.token))"))
    assert got != wanted
