# SPDX-License-Identifier: Apache-2.0
"""The loop over chunks, with a decoder of a few lines behind it."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from golden_model.control.chunk_loop import chunks, ready_cycles
from golden_model.control.sequences import Sequence
from golden_model.control.token_loop import Facts, Start
from golden_model.control.token_loop import run as golden_run
from golden_model.kv_config import KvCacheConfig
from golden_model.system_config import TokenLoopConfig
from hw.control.chunk_loop import ChunkLoop
from tests.mutants import mutant

SLOTS, WINDOW, CONTEXT, VOCAB = 2, 6, 17, 40
FACTS = Facts(VOCAB, CONTEXT, WINDOW, 3)
HEADER = {"vocab": VOCAB, "context": CONTEXT, "slots": SLOTS, "streams": 2, "words": 1,
          "window": WINDOW, "state_words": 3}
CONFIG = TokenLoopConfig(cache=KvCacheConfig(lanes=16, rows=60, sinks=6, window=WINDOW,
                                             slots=SLOTS, batch=3))


def follow(state, token):
    """State of a sequence after a token, and its successor."""
    state = (5 * state + token + 1) % 1009
    return state, state % VOCAB


class Host:
    """Gives prompts, is the decoder, and keeps the golden model beside."""

    def __init__(self, ctx, loop, seed, stall):
        self.ctx, self.loop, self.stall = ctx, loop, stall
        self.random = random.Random(seed)
        self.model = [Sequence() for _ in range(SLOTS)]
        self.states, self.cores = [0] * SLOTS, [0] * SLOTS
        ctx.set(loop.header, HEADER)
        ctx.set(loop.image_valid, 1)

    def read(self, slot):
        def one(token, position, skip):
            self.states[slot], following = follow(self.states[slot] if position else 0, token)
            return None if skip else following
        return one

    def go(self):
        return self.random.random() >= self.stall

    def decode(self, work, slot):
        """Read a chunk; return what follows its last token."""
        state = self.cores[slot] if work.position else 0
        for number in range(work.count):
            state, following = follow(state, work.tokens[number])
        self.cores[slot] = state
        return following

    async def start(self, start, slot):
        """One start: what is read at a time, what is given, and the cycle of each."""
        ctx, loop = self.ctx, self.loop
        fresh = not self.model[slot].open
        reads, self.model[slot], error = golden_run(FACTS, self.model[slot], start,
                                                    self.read(slot))
        ctx.set(loop.run, {"prompt_count": len(start.prompt), "generate_count": start.generate,
                           "stop_token": start.stop or 0, "stop_enable": start.stop is not None,
                           "slot": slot})
        prompt, given, spans, seen, errors = list(start.prompt), [], [], [], set()
        cycle, left, following, over, pulses, done = 0, None, None, False, 0, False
        first = 0
        ctx.set(loop.start, 1)
        while not done:
            ctx.set(loop.i_prompt.valid, bool(prompt) and self.go())
            ctx.set(loop.i_prompt.payload, prompt[0] if prompt else 0)
            ctx.set(loop.o_generated.ready, self.go())
            ctx.set(loop.o_control.ready, 1)
            work = ctx.get(loop.o_work.p)
            if ctx.get(loop.o_work.valid) and left is None:
                first, left = cycle, self.random.randrange(2, 5)
                following = self.decode(work, slot)
                seen.append((list(work.tokens)[:work.count], work.position, bool(work.skip_head)))
                assert work.slot == slot
            ctx.set(loop.i_token.valid, left == 1 and not work.skip_head)
            ctx.set(loop.i_token.p.token, following or 0)
            over = left == 0
            ctx.set(loop.o_work.ready, over)
            if over:
                spans.append((first, cycle))
            left = None if over else left if left is None else left - 1
            pulses += ctx.get(loop.token_done)
            if ctx.get(loop.i_prompt.valid) and ctx.get(loop.i_prompt.ready):
                prompt.pop(0)
            if ctx.get(loop.o_generated.valid) and ctx.get(loop.o_generated.ready):
                token = ctx.get(loop.o_generated.p)
                given.append((token.token, bool(token.last)))
            raised = ctx.get(loop.errors)
            now = {name for name in ("token_range", "kv_capacity") if raised[name]}
            assert not now or pulses == len(reads)
            errors |= now
            done = ctx.get(loop.done)
            await ctx.tick()
            ctx.set(loop.start, 0)
            cycle += 1
            assert cycle < 2000
        parts = chunks(CONFIG, reads, len(start.prompt))
        assert seen == [([read.token for read in part], part[0].position, part[-1].skip_head)
                        for part in parts]
        assert pulses == len(reads)
        assert given == [(read.following, read.last) for read in reads
                         if read.following is not None]
        assert errors == ({error} if error else set())
        assert ctx.get(loop.position) == self.model[slot].position
        if not self.stall and not fresh and not error:
            counts = [len(part) for part in parts]
            assert spans == ready_cycles(CONFIG, counts, len(start.prompt),
                                         [last - begin for begin, last in spans])


def run(build=ChunkLoop, seed=1, stall=0.0, rounds=25):
    """Random starts of both slots; one that is full begins anew."""
    loop, rng = build(CONFIG), random.Random(seed)

    async def testbench(ctx):
        host = Host(ctx, loop, seed, stall)
        for _ in range(rounds):
            prompt = tuple(VOCAB if rng.random() < 0.05 else rng.randrange(VOCAB)
                           for _ in range(rng.choice((0, 1, 2, 3, 4, 7))))
            await host.start(Start(prompt=prompt, generate=rng.choice((0, 1, 2, 4)),
                                   stop=rng.randrange(VOCAB) if rng.random() < .3 else None),
                             rng.randrange(SLOTS))

    sim = Simulator(loop)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize(("seed", "stall"), [(1, 0.0), (2, 0.0), (3, 0.5)])
def test_starts_of_any_length(seed, stall):
    run(seed=seed, stall=stall)


def test_a_halt_ends_the_start_behind_the_tokens_that_were_taken():
    loop, seen = ChunkLoop(CONFIG), []

    async def testbench(ctx):
        Host(ctx, loop, 1, 0.0)
        ctx.set(loop.run, {"prompt_count": 3, "generate_count": 1})
        ctx.set(loop.o_control.ready, 1)
        ctx.set(loop.start, 1)
        for cycle in range(60):
            ctx.set(loop.i_prompt.valid, cycle < 40 and not seen)
            ctx.set(loop.i_prompt.payload, 7)
            if ctx.get(loop.i_prompt.valid) and ctx.get(loop.i_prompt.ready):
                seen.append("token")
            ctx.set(loop.halt, cycle == 40)
            ctx.set(loop.o_work.ready, 1)
            if ctx.get(loop.o_work.valid):
                work = ctx.get(loop.o_work.p)
                seen.append((work.count, work.skip_head))
            if ctx.get(loop.done):
                seen.append("done")
            await ctx.tick()
            ctx.set(loop.start, 0)

    sim = Simulator(loop)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    assert seen == ["token", (1, 1), "done"]


@pytest.mark.parametrize(("old", "new"), [
    ("sequences.position + count >= self.header.context",
     "sequences.position >= self.header.context"),
    ("m.d.sync += [broken.eq(1), skip.eq(1)]", "m.d.sync += broken.eq(1)"),
    ("with m.Elif(broken):", "with m.Elif(C(0, 1)):"),
    # An error while those ahead of it are still to be read.
    ("with m.Else():\n                    m.d.comb",
     "with m.If(C(1, 1)):\n                    m.d.comb"),
    ("(run.prompt_count == 0) | (count == batch - 1)", "count == batch - 1"),
    ("sequences.with_following.eq(got & (left == 1))", "sequences.with_following.eq(0)"),
    ("m.d.sync += left.eq(left - 1)\n            with m.If(left == 1):",
     "m.d.sync += left.eq(left - 1)\n            with m.If(1):"),
])
def test_a_planted_bug_is_seen(old, new):
    broken = mutant(ChunkLoop, old, new)
    with pytest.raises(AssertionError):
        runs(broken)


def runs(build):
    for seed in range(1, 5):
        run(build, seed=seed)


def test_the_gap_is_pinned():
    assert ready_cycles(replace(CONFIG), [3, 2, 1], 5, [10, 10, 10]) == [
        (8, 18), (25, 35), (39, 49)]
