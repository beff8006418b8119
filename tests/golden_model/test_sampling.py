# SPDX-License-Identifier: Apache-2.0
"""Sampling: reproducible, and distributed as softmax says."""

import numpy as np
import pytest

from golden_model import smallfloat as sf
from golden_model.sampling import ZERO_SEED, TemperatureSampler, greedy, xorshift32

SCALE = sf.from_float(0.01)


def test_greedy_takes_the_first_of_equals():
    assert greedy(np.array([1, 5, 5, -2]), SCALE) == 1


def test_generator_literals():
    """Marsaglia's triple 13, 17, 5 from state 1."""
    state, seen = 1, []
    for _ in range(3):
        state = xorshift32(state)
        seen.append(state)
    assert seen == [270369, 67634689, 2647435461]


def test_same_seed_same_tokens():
    logits = np.random.default_rng(0).integers(-300, 300, (50, 64))
    one, two, other = (TemperatureSampler(0.8, seed) for seed in (7, 7, 8))
    first = [one(row, SCALE) for row in logits]
    assert first == [two(row, SCALE) for row in logits]
    assert first != [other(row, SCALE) for row in logits]


def test_seed_zero_is_replaced():
    assert TemperatureSampler(1, 0).state == ZERO_SEED


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_distribution(temperature):
    logits = np.array([0, 100, 200, -400, 150])
    real = np.exp(logits * 0.01 / temperature)
    real /= real.sum()
    sampler = TemperatureSampler(temperature, 1)
    counts = np.bincount([sampler(logits, SCALE) for _ in range(20_000)], minlength=5)
    assert counts / 20_000 == pytest.approx(real, abs=0.012)
    weights = sampler.weights(logits, SCALE)
    assert weights / weights.sum() == pytest.approx(real, abs=1e-3)


def test_low_temperature_is_greedy_and_impossible_tokens_never_come():
    sampler = TemperatureSampler(1e-3, 3)
    assert {sampler(np.array([5, 4, 3]) * 100, SCALE) for _ in range(200)} == {0}


def test_first_and_last_token_can_come():
    sampler = TemperatureSampler(1, 9)
    assert {sampler(np.zeros(3, np.int64), SCALE) for _ in range(100)} == {0, 1, 2}


@pytest.mark.parametrize(("seed", "logits", "token"), [
    (42284, [0, 0], 1),      # state 0x8000c0be: the threshold is 32768, the first running sum
    (7943, [0, 0], 0),       # state 0x7fff2017: the threshold is 32767, just below it
    (33829, [-9000, 0], 1),  # state 0x0001a087: threshold 0 must not take a token without weight
])
def test_running_sum_must_exceed_the_threshold(seed, logits, token):
    assert TemperatureSampler(1, seed)(np.array(logits), SCALE) == token


@pytest.mark.parametrize(("temperature", "seed", "message"), [
    (0, 1, "temperature"), (-1, 1, "temperature"), (np.inf, 1, "temperature"),
    (np.nan, 1, "temperature"), (1, -1, "seed"), (1, 1 << 32, "seed"),
])
def test_bad_parameters(temperature, seed, message):
    with pytest.raises(ValueError, match=message):
        TemperatureSampler(temperature, seed)
