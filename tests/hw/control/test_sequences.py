# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from golden_model.control.sequences import Sequence
from golden_model.kv_config import KvCacheConfig
from golden_model.system_config import TokenLoopConfig
from hw.control.sequences import Sequences
from sim.simulator import simulate
from tests.mutants import mutant

WINDOW, STATE_WORDS = 5, 7


def configuration(slots):
    return TokenLoopConfig(cache=KvCacheConfig(slots=slots, sinks=slots))


def run(slots, build=Sequences, seed=1, steps=300):
    """Random changes of random slots; every output of every slot, in every cycle."""
    rng = random.Random(seed)
    dut = build(configuration(slots))

    async def bench(ctx):
        model = [Sequence() for _ in range(slots)]
        ctx.set(dut.header, {"window": WINDOW, "state_words": STATE_WORDS})
        for _ in range(steps):
            slot = rng.randrange(slots)
            change = rng.choice(("clear", "advance", "advance", "advance", "restore", "", "forget"))
            if change == "forget" and rng.random() < 0.8:
                change = "advance"
            token, with_following = rng.getrandbits(24), rng.random() < 0.5
            position, words = rng.randrange(9), rng.randrange(100)
            ctx.set(dut.slot, slot)
            ctx.set(dut.token, token)
            ctx.set(dut.with_following, with_following)
            ctx.set(dut.restored, position)
            ctx.set(dut.restored_words, words)
            for name in ("clear", "advance", "restore", "forget"):
                ctx.set(getattr(dut, name), name == change)
            now = model[slot]
            model[slot] = {
                "": now, "clear": now.cleared(), "restore": now.restored(position, words),
                "advance": now.advanced(token if with_following else None, WINDOW, STATE_WORDS),
                "forget": now}[change]
            if change == "forget":
                model = [Sequence() for _ in range(slots)]
            await ctx.tick()
            for name in ("clear", "advance", "restore", "forget"):
                ctx.set(getattr(dut, name), 0)
            for number, expected in enumerate(model):
                ctx.set(dut.slot, number)
                ctx.set(dut.shown_slot, number)
                shown = (ctx.get(dut.open), ctx.get(dut.position), ctx.get(dut.words))
                assert shown == (expected.open, expected.position, expected.words)
                assert ctx.get(dut.shown) == expected.position
                assert ctx.get(dut.has_following) == (expected.following is not None)
                if expected.following is not None:
                    assert ctx.get(dut.following) == expected.following

    simulate(dut, bench)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_every_slot_after_every_change(slots):
    run(slots)


@pytest.mark.parametrize(("old", "new"), [
    ("change & (self.slot == n)", "change"),
    ("now.position < self.header.window", "now.position <= self.header.window"),
    ("self.advance & self.with_following", "self.advance")])
def test_a_planted_bug_is_seen(old, new):
    with pytest.raises(AssertionError):
        run(3, mutant(Sequences, old, new))
