# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.head import argmax as golden
from golden_model.head_config import ArgmaxConfig
from golden_model.sampling import greedy
from hw.head.argmax import Argmax
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [ArgmaxConfig(), ArgmaxConfig(logit_bits=2, max_vocab=2),
           ArgmaxConfig(logit_bits=9, max_vocab=37)]


def vectors(config, seed=1):
    rng = np.random.default_rng(seed)
    most = (1 << config.logit_bits - 1) - 1
    longest = min(config.max_vocab, 60)
    yield np.array([-most - 1])
    yield np.full(longest, -most - 1)
    yield np.full(longest, most)
    yield np.r_[most, np.zeros(longest - 1, int)]
    yield np.r_[np.full(longest - 1, -1), most]
    for n in (1, 2, longest, longest - 1):
        yield rng.integers(-most - 1, most + 1, max(1, n))
        yield rng.integers(-1, 2, max(1, n)).clip(-most, most)   # ties


def run(config, logits, stall=0.0, build=Argmax):
    dut, tokens, cycles = build(config), [], []
    beats = [{"logit": value, "last": n == len(vector) - 1}
             for vector in logits for n, value in enumerate(vector.tolist())]

    async def source(ctx):
        await send(ctx, dut.i, beats, stall=stall)

    async def sink(ctx):
        await receive(ctx, dut.o, len(logits), tokens, stall=stall, log=cycles)
    simulate(dut, source, sink)
    return [(one.token, one.logit) for one in tokens], cycles


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    logits = list(vectors(config))
    tokens, cycles = run(config, logits, stall)
    assert tokens == [golden.argmax(vector) for vector in logits]
    assert [token for token, _ in tokens] == [greedy(v, np.ones(())) for v in logits]
    assert stall or cycles == golden.schedule(config, [len(vector) for vector in logits])


def test_cycles_are_pinned():
    assert golden.schedule(ArgmaxConfig(), [1, 1, 5]) == [1, 3, 9]


@pytest.mark.parametrize(("old", "new", "vector"), [
    ("logit > best.logit", "logit >= best.logit", [3, 3]),
    ("first | (logit", "(logit", [-7, -9]),
    ("index.eq(0)", "index.eq(1)", [1, 2]),
])
def test_a_planted_bug_is_noticed(old, new, vector):
    logits = [np.array(vector), np.array(vector)]
    assert run(CONFIGS[0], logits)[0] == [golden.argmax(one) for one in logits]
    changed = mutant(Argmax, old, new)
    assert run(CONFIGS[0], logits, build=changed)[0] != [golden.argmax(one) for one in logits]


def test_limits_are_named():
    with pytest.raises(ValueError, match="max_vocab must be at most"):
        ArgmaxConfig(max_vocab=1 << 25)
