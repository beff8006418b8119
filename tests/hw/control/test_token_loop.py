# SPDX-License-Identifier: Apache-2.0
import random
from dataclasses import replace

import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model.attention_config import AttentionConfig
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ArrayConfig
from golden_model.control.sequences import Sequence
from golden_model.control.token_loop import Facts, Start, ready_cycles, saved_words
from golden_model.control.token_loop import run as golden_run
from golden_model.decoder_config import DecoderConfig
from golden_model.kv_config import KvCacheConfig
from golden_model.system_config import TokenLoopConfig
from hw.control.token_loop import TokenLoop
from sim.simulator import simulate
from tests.hw.stand_in import BEATS, STATE_WORDS, StandIn, follow
from tests.mutants import mutant

SLOTS, WINDOW, CONTEXT, VOCAB = 3, 6, 20, 64
FACTS = Facts(VOCAB, CONTEXT, WINDOW, STATE_WORDS)
HEADER = {"vocab": VOCAB, "context": CONTEXT, "slots": SLOTS, "streams": 2, "words": 1,
          "window": WINDOW, "state_words": STATE_WORDS}
CACHE = KvCacheConfig(lanes=16, rows=60, sinks=6, window=WINDOW, slots=SLOTS)
CONFIG = TokenLoopConfig(cache=CACHE)
DECODER = DecoderConfig(
    array=ArrayConfig(rows=2, lanes=16, max_k=64, max_m=64), lanes=4, max_hidden=64, max_ffn=64,
    max_vocab=64, attention=CachedAttentionConfig(
        attention=AttentionConfig(lanes=16, slots=SLOTS, streams=2, max_rows=WINDOW, beat=4),
        cache=CACHE))
BEAT = 0x1234


class Bench(Elaboratable):
    """The loop with a stand-in that reads the same beat over and over."""

    def __init__(self, build=TokenLoop):
        self.loop, self.core = build(CONFIG), StandIn(DECODER, VOCAB)

    def elaborate(self, platform):
        m = Module()
        m.submodules.loop, m.submodules.core = loop, core = self.loop, self.core
        for source, sink in ((loop.o_work, core.i_token), (core.o_token, loop.i_token),
                             (loop.o_control, core.i_control), (core.o_save, loop.i_save),
                             (loop.o_restore, core.i_restore)):
            wiring.connect(m, source, sink)
        m.d.comb += [loop.fault.eq(core.fault), core.o_request.ready.eq(1),
                     core.i_beats.valid.eq(1), core.i_beats.payload.eq(BEAT)]
        # The check takes a while.
        wait = Signal(4)
        with m.If(loop.go | (wait != 0)):
            m.d.sync += wait.eq(wait + 1)
        m.d.comb += loop.checked.eq(wait == 15)
        with m.If(wait == 15):
            m.d.sync += loop.image_valid.eq(1)
        return m


class Host:
    """Writes prompts, reads texts, and keeps the golden model beside."""

    def __init__(self, ctx, bench, seed, stall):
        self.ctx, self.loop = ctx, bench.loop
        self.random, self.stall = random.Random(seed), stall
        self.model = [Sequence() for _ in range(SLOTS)]
        self.states = [0] * SLOTS
        ctx.set(bench.loop.header, HEADER)

    def read(self, slot):
        def one(token, position, skip):
            state = self.states[slot] if position else 0
            self.states[slot], following = follow(state, token, [BEAT] * BEATS, VOCAB)
            return None if skip else following
        return one

    def go(self):
        return self.random.random() >= self.stall

    async def pulse(self, name):
        self.ctx.set(getattr(self.loop, name), 1)
        await self.ctx.tick()
        self.ctx.set(getattr(self.loop, name), 0)

    async def start(self, start, slot):
        """One start; every token, flag, position and error, and without stalls every cycle."""
        ctx, loop = self.ctx, self.loop
        fresh = not self.model[slot].open
        reads, self.model[slot], error = golden_run(FACTS, self.model[slot], start,
                                                    self.read(slot))
        ctx.set(loop.run, {"prompt_count": len(start.prompt), "generate_count": start.generate,
                           "stop_token": start.stop or 0, "stop_enable": start.stop is not None,
                           "slot": slot})
        prompt, cycle, done = list(start.prompt), 0, False
        given, spans, errors, first = [], [], set(), None
        await self.pulse("start")
        while not done:
            ctx.set(loop.i_prompt.valid, bool(prompt) and self.go())
            ctx.set(loop.i_prompt.payload, prompt[0] if prompt else 0)
            ctx.set(loop.o_generated.ready, self.go())
            (*_, taken, asked, valid, ready, token, work, over, running, done,
             raised) = await ctx.tick().sample(
                 loop.i_prompt.ready, loop.i_prompt.valid, loop.o_generated.valid,
                 loop.o_generated.ready, loop.o_generated.p, loop.o_work.p, loop.token_done,
                 loop.running, loop.done, loop.errors)
            cycle += 1
            if taken and asked:
                prompt.pop(0)
            if valid and ready:
                given.append((token.token, token.last))
            if running and first is None:
                first = cycle
            if over:
                spans.append((first, cycle))
                assert len(spans) <= len(reads)
                assert (work.token, work.position, work.skip_head, work.slot) == (
                    *reads[len(spans) - 1][:3], slot)
                first = None
            errors |= {name for name in ("token_range", "kv_capacity") if raised[name]}
            assert cycle < 4000
        assert len(spans) == len(reads)
        assert given == [(read.following, read.last) for read in reads
                         if read.following is not None]
        assert errors == ({error} if error else set())
        assert ctx.get(loop.position) == self.model[slot].position
        if not self.stall and not fresh:
            assert spans == ready_cycles(CONFIG, [last - first for first, last in spans])

    async def save(self, slot):
        ctx, loop, words, cycle = self.ctx, self.loop, [], 0
        ctx.set(loop.run, {"slot": slot})
        await self.pulse("save")
        done = False
        while not done:
            ctx.set(loop.o_save.ready, self.go())
            *_, valid, ready, word, left, done = await ctx.tick().sample(
                loop.o_save.valid, loop.o_save.ready, loop.o_save.payload, loop.kv_words,
                loop.kv_done)
            if valid and ready:
                words.append((word, left))
            cycle += 1
            assert cycle < 4000
        size = min(self.model[slot].position, WINDOW) * STATE_WORDS
        got = [word for word, _ in words]
        assert got == saved_words(self.model[slot], got[2:])
        assert [left for _, left in words] == list(range(size + 2, 0, -1))
        return got

    async def restore(self, words, slot, broken=False):
        ctx, loop, cycle = self.ctx, self.loop, 0
        ctx.set(loop.run, {"slot": slot})
        await self.pulse("restore")
        rest, done, wrong = list(words), False, False
        while not done:
            ctx.set(loop.i_restore.valid, bool(rest) and self.go())
            ctx.set(loop.i_restore.payload, rest[0] if rest else 0)
            *_, valid, ready, done, error = await ctx.tick().sample(
                loop.i_restore.valid, loop.i_restore.ready, loop.kv_done, loop.errors.kv_order)
            if valid and ready:
                rest.pop(0)
            wrong |= bool(error)
            cycle += 1
            assert cycle < 4000
        assert wrong == broken
        assert not rest
        self.model[slot] = (Sequence().cleared() if broken or not words[1] else
                            Sequence().restored(words[1], len(words) - 2))
        assert ctx.get(loop.position) == self.model[slot].position


def run(build=TokenLoop, seed=1, stall=0.0, rounds=25):
    """Random starts, saved and restored sequences."""
    bench = Bench(build)
    rng = random.Random(seed)

    async def testbench(ctx):
        host = Host(ctx, bench, seed, stall)
        for _ in range(rounds):
            slot = rng.randrange(SLOTS)
            kind = rng.random()
            if kind < 0.7:
                prompt = tuple(VOCAB if rng.random() < 0.05 else rng.randrange(VOCAB)
                               for _ in range(rng.choice((0, 1, 1, 3, 5))))
                await host.start(Start(prompt=prompt, generate=rng.choice((0, 1, 2, 5)),
                                       stop=rng.randrange(VOCAB) if rng.random() < .5 else None),
                                 slot)
            elif kind < 0.9:
                words, other = await host.save(slot), rng.randrange(SLOTS)
                state = host.states[slot]
                await host.restore(words, other)
                host.states[other] = state
            else:
                words = await host.save(slot)
                if len(words) > 2:
                    await host.restore([words[0] - 4, *words[1:-1]], slot, broken=True)

    simulate(bench, testbench)


@pytest.mark.parametrize(("seed", "stall"), [(1, 0.0), (2, 0.0), (3, 0.5)])
def test_starts_and_sequences_in_any_order(seed, stall):
    run(seed=seed, stall=stall)


@pytest.mark.parametrize(("old", "new"), [
    ("skip.eq((run.prompt_count != 1) | (run.generate_count == 0))",
     "skip.eq(run.prompt_count != 1)"),
    ("token >= self.header.vocab", "0"),
    ("sequences.position >= self.header.context", "0"),
    ("run.generate_count.eq(run.generate_count - 1)", "run.generate_count.eq(0)"),
    ("(run.generate_count != 0) & sequences.has_following", "run.generate_count != 0"),
    ("Mux(position < window, position, window)", "position"),
    ("m.d.sync += broken.eq(1)\n                with m.If(word",
     "pass\n                with m.If(word"),
    ("(sequences.words + 1) << 2", "sequences.words << 2"),
    ("m.d.sync += token.eq(following)\n", "pass\n")])
def test_a_planted_bug_is_seen(old, new):
    with pytest.raises(AssertionError):
        runs(mutant(TokenLoop, old, new))


def runs(build):
    for seed in range(1, 5):
        run(build, seed=seed)


def test_the_first_start_checks_and_configures_once():
    bench = Bench()

    async def testbench(ctx):
        host = Host(ctx, bench, 1, 0.0)
        for _ in range(2):
            await host.start(Start(prompt=(3,), generate=1), 0)
        assert ctx.get(bench.loop.idle)

    simulate(bench, testbench)


def test_the_gap_is_pinned():
    assert CONFIG.gap == 3
    assert ready_cycles(replace(CONFIG), [10, 5]) == [(4, 14), (17, 22)]
