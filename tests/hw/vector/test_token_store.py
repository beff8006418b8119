# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.batch_config import TokenStoreConfig
from golden_model.vector.token_store import StoreReads
from hw.vector.token_store import TokenStore
from sim.simulator import simulate
from tests.mutants import mutant

CONFIGS = [TokenStoreConfig(bits=9, max_words=5, batch=3, interleaved=True),
           TokenStoreConfig(bits=9, max_words=5, batch=3),
           TokenStoreConfig(bits=9, max_words=1, batch=2, interleaved=True),
           TokenStoreConfig(bits=9, max_words=8, batch=4),
           TokenStoreConfig(bits=9, max_words=8, batch=4, interleaved=True)]


def jobs(config, seed=1):
    """Vectors [tokens, words] and passes."""
    rng = np.random.default_rng(seed)
    for tokens in (config.batch, 1, config.batch - 1):
        for words in {1, config.max_words}:
            yield (rng.integers(0, 1 << config.bits, (tokens, words)).tolist(),
                   int(rng.integers(1, 4)))


def run(config, *, gaps=0.0, stall=0.0, build=TokenStore):
    """Check all words of all tokens, and the cycle of each; return how many were given."""
    dut, given = build(config), []
    rng = np.random.default_rng(5)

    async def drive(ctx):
        for vectors, passes in jobs(config):
            tokens, words = len(vectors), len(vectors[0])
            ctx.set(dut.tokens, tokens)
            order = ([(token, word) for word in range(words) for token in range(tokens)]
                     if config.interleaved else
                     [(token, word) for token in range(tokens) for word in range(words)])
            arrivals, now, offer = {}, 0, 0
            # Interleaved words may be read as they come, others when all of them are there.
            token, model, left = 0, None, 0
            while token < tokens:
                ctx.set(dut.i.valid, 0)
                ctx.set(dut.restart, 0)
                reads = config.interleaved or offer == len(order)
                if offer < len(order) and rng.random() >= gaps:
                    turn, word = order[offer]
                    ctx.set(dut.i.payload, vectors[turn][word])
                    ctx.set(dut.i.valid, 1)
                    ctx.set(dut.token, token if config.interleaved else turn)
                    ctx.set(dut.restart, not config.interleaved and word == words - 1)
                    arrivals[turn, word] = now
                    offer += 1
                if reads:
                    if not left:
                        left, model = words * passes, StoreReads([], now)
                        ctx.set(dut.i_read.p, {"words": words, "passes": passes})
                    model.arrivals = [arrivals.get((token, word), now) for word in range(words)
                                      ] * passes
                    ctx.set(dut.token, token)
                    ctx.set(dut.i_read.valid, 1)
                    ready = int(rng.random() >= stall)
                    ctx.set(dut.o.ready, ready)
                    assert ctx.get(dut.o.valid) == model.valid
                    if model.valid and ready:
                        place = words * passes - left
                        shown = ctx.get(dut.o.p)
                        assert shown.word == vectors[token][place % words]
                        assert shown.last == (place % words == words - 1)
                        assert ctx.get(dut.i_read.ready) == (left == 1)
                        given.append(shown.word)
                        left -= 1
                        ends = not left
                    else:
                        assert not ctx.get(dut.i_read.ready)
                        ends = False
                    model.tick(now, bool(ready))
                now += 1
                if reads and ends:
                    token += 1
                    if token == tokens:
                        ctx.set(dut.restart, 1)
                await ctx.tick()
                if reads and ends:
                    ctx.set(dut.i_read.valid, 0)
            ctx.set(dut.restart, 0)

    simulate(dut, drive)
    return len(given)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_word_comes_in_its_cycle(config):
    wanted = sum(len(vectors) * len(vectors[0]) * passes for vectors, passes in jobs(config))
    assert run(config) == wanted
    assert run(config, gaps=0.5, stall=0.4) == wanted


@pytest.mark.parametrize(("config", "old", "new"), [
    (CONFIGS[0], "(word == count) & (self.token < turn)", "word == count"),
    (CONFIGS[0], "(word < count) |", "(word <= count) |"),
    (CONFIGS[1], "given + 1 == self.i_read.p.passes", "given == self.i_read.p.passes"),
    (CONFIGS[3], "put.token.eq(turn if config.interleaved else self.token)", "put.token.eq(0)"),
])
def test_planted_bugs_are_seen(config, old, new):
    with pytest.raises(AssertionError):
        run(config, gaps=0.5, build=mutant(TokenStore, old, new))


def test_its_memory_gives_each_token_whole_address_bits():
    assert CONFIGS[0].depth == 3 * 8
    assert CONFIGS[0].memory_bits == 3 * 8 * 9
    with pytest.raises(ValueError, match="batch must be at most 4"):
        TokenStoreConfig(bits=1, max_words=1, batch=5)
