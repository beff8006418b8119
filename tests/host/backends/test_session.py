# SPDX-License-Identifier: Apache-2.0
"""A device that fails at any moment: the session's tokens are those of an undisturbed run."""

import functools
import random

import numpy as np
import pytest

from golden_model.exact import ExactDecoder
from golden_model.sampling import TemperatureSampler, greedy
from host.backends.base import BackendError
from host.backends.cpu import CpuBackend
from host.backends.sampling import GREEDY
from host.backends.session import Session
from host.errors import CheckFailedError, UserError
from host.link.faults import LASTING, PASSING
from host.link.link import Patience
from tests.host.link.harness import SHAPE, WEIGHTS, Bench

PROMPT = [0, 7, 3]
COUNT = 6
BRIEF = Patience(first=0.02, longest=0.04, attempts=3)


def undisturbed(prompt=PROMPT, count=COUNT, temperature=None, seed=0, window=None):
    decoder = ExactDecoder(WEIGHTS, window=window)
    sampler = greedy if temperature is None else TemperatureSampler(temperature, seed)
    return list(decoder.generate(prompt, count, sampler))


def run(bench, notices, count=COUNT, temperature=None, seed=0, window=None, canary=0, save_every=0,
        **serial):
    session = Session(WEIGHTS, [bench.serial(**serial), CpuBackend()], window, canary=canary,
                      save_every=save_every, notice=notices.append)
    tokens = list(session.generate(PROMPT, count, temperature, seed))
    session.close()
    return tokens


@functools.cache
def pieces():
    """Pieces of bytes that an undisturbed run takes."""
    with Bench() as bench:
        serial = bench.serial(patience=Patience(), at={-1: "none"})
        session = Session(WEIGHTS, [serial])
        assert list(session.generate(PROMPT, COUNT)) == undisturbed()
        return serial.registers.link.port.pieces


def strike(point):
    """One run with a fault at one random place; whether the device was left."""
    chance = random.Random(point)
    fault = chance.choice(LASTING + PASSING)
    at = {chance.randrange(pieces()): fault}
    temperature, seed = chance.choice([(None, 0), (0.8, point)])
    notices = []
    with Bench(queue=chance.choice([1, 2, 32])) as bench:
        tokens = run(bench, notices, temperature=temperature, seed=seed, patience=BRIEF,
                     stall_seconds=0.1, at=at, noise=point,
                     save_every=chance.choice([0, 2]))
    assert tokens == undisturbed(temperature=temperature, seed=seed), (point, at, notices)
    assert len(notices) <= 1
    return bool(notices)


def test_faults_at_random_places():
    left = [strike(point) for point in range(60)]
    assert 5 < sum(left) < 60  # some faults end the device's part, others are repaired


@pytest.mark.slow
def test_faults_at_a_thousand_places():
    left = [strike(point) for point in range(1000)]
    assert 100 < sum(left) < 1000


@pytest.mark.parametrize("temperature", [None, 0.7])
def test_without_a_fault_the_device_does_it_all(temperature):
    notices = []
    with Bench() as bench:
        tokens = run(bench, notices, count=20, temperature=temperature, seed=5, canary=4,
                     patience=Patience())
        assert bench.device.bus.tokens == 4 + len(PROMPT) + 19  # the trial's tokens first
    assert tokens == undisturbed(count=20, temperature=temperature, seed=5)
    assert notices == []


@pytest.mark.parametrize("after", [1, 4])
def test_a_cable_that_is_really_pulled(after):
    notices = []
    with Bench() as bench:
        session = Session(WEIGHTS, [bench.serial(patience=Patience()), CpuBackend()],
                          notice=notices.append)
        tokens = []
        for token in session.generate(PROMPT, 8, temperature=1.2, seed=3):
            tokens.append(token)
            if len(tokens) == after:
                bench.unplug()
        session.close()
    assert tokens == undisturbed(count=8, temperature=1.2, seed=3)
    assert f"cpu goes on after {len(PROMPT) + after - 1} tokens" in notices[0]


def test_two_devices_hand_a_saved_state_on():
    """The second takes the first one's state, and reads only what came after it."""
    notices = []
    with Bench() as one, Bench() as two:
        first = one.serial(patience=Patience(), at={-1: "none"})
        second = two.serial(patience=Patience())
        session = Session(WEIGHTS, [first, second, CpuBackend()], save_every=5,
                          notice=notices.append)
        tokens = []
        for token in session.generate(PROMPT, 15):
            tokens.append(token)
            if len(tokens) == 10:
                first.registers.link.port.at = {first.registers.link.port.pieces: "vanish"}
        assert session.backend is second
        session.close()
        # 12 tokens were read, 10 of them in the latest state; then 5 more.
        assert two.device.bus.tokens == 2 + 5
    assert tokens == undisturbed(count=15)
    assert "serial goes on after 12 tokens" in notices[0]


def test_the_cpu_takes_a_state_of_the_cpu():
    class Failing(CpuBackend):
        def prefill(self, tokens, sampling=GREEDY):
            if self.position >= 11:
                raise BackendError("cpu: out of order")
            return super().prefill(tokens, sampling)

    last = CpuBackend()
    session = Session(WEIGHTS, [Failing(), last], save_every=4)
    tokens = list(session.generate(PROMPT, 15, temperature=0.9, seed=1))
    assert tokens == undisturbed(count=15, temperature=0.9, seed=1)
    assert last.counters()["tokens"] == len(PROMPT) + 14 - 8


@pytest.mark.parametrize("seed", range(3))
def test_a_noisy_line_only_costs_repetitions(seed):
    notices = []
    with Bench() as bench:
        tokens = run(bench, notices, rate=0.1, noise=seed,
                     patience=Patience(first=0.05, attempts=12))
        assert tokens == undisturbed()
    assert notices == []


class Amnesic(Session):
    """Begins again on the next backend, without what was read."""

    def _rebuild(self, backend):
        pass


class Stuttering(Session):
    """Believes the tokens in work to have been read when a backend fails."""

    def _leave(self, error):
        super()._leave(error)
        self.tokens = [*self.tokens, self.tokens[-1]]


@pytest.mark.parametrize("make", [Amnesic, Stuttering])
def test_a_session_that_rebuilds_wrongly_is_noticed(make):
    """Negative control of every comparison above."""
    with Bench() as bench:
        serial = bench.serial(patience=Patience(), at={-1: "none"})
        session = make(WEIGHTS, [serial, CpuBackend()])
        tokens = []
        for token in session.generate(PROMPT, 15, temperature=1.5, seed=2):
            tokens.append(token)
            if len(tokens) == 3:
                port = serial.registers.link.port
                port.at = {port.pieces: "vanish"}
        session.close()
    wanted = undisturbed(count=15, temperature=1.5, seed=2)
    assert tokens[:3] == wanted[:3]
    assert tokens != wanted


def test_a_device_that_computes_something_else_is_not_used():
    other = type(WEIGHTS)(**{**vars(WEIGHTS), "embedding": np.roll(WEIGHTS.embedding, 1, axis=0)})
    notices = []
    with Bench(weights=other) as bench:
        assert run(bench, notices, canary=6) == undisturbed()
    assert "it computes something else" in notices[0]
    notices = []
    with Bench(weights=other) as bench:  # negative control: without a trial it is believed
        assert run(bench, notices) != undisturbed()


def test_a_device_with_another_window_is_left_in_time():
    notices = []
    with Bench(window=5) as bench:
        assert run(bench, notices) == undisturbed()
    assert "its window is 5 tokens" in notices[0]
    notices = []
    with Bench(window=5) as bench:
        assert run(bench, notices, window=5, patience=Patience()) == undisturbed(window=5)
    assert notices == []


def test_another_configuration_is_not_written_to():
    notices = []
    with Bench() as bench:
        assert run(bench, notices, config_hash=1) == undisturbed()
        assert bench.device.executed == 1  # reading who it is
    assert "built for another" in notices[0]


def test_nobody_at_the_other_end():
    session = Session(WEIGHTS, [], notice=lambda _: None)
    with pytest.raises(CheckFailedError, match="no backend is left"):
        session.read([1])
    notices = []
    with Bench() as bench:
        session = Session(WEIGHTS, [bench.serial(at={0: "vanish"})], notice=notices.append)
        with pytest.raises(CheckFailedError):
            session.read([1])
    assert "no other is left" in notices[0]


def test_what_cannot_be_asked_for():
    session = Session(WEIGHTS, [CpuBackend()])
    for tokens, words in (([], "one at least"), ([SHAPE.vocab], "0..18"), ([-1], "0..18"),
                          ([1] * 25, "exceed the context")):
        with pytest.raises(UserError, match=words):
            session.read(tokens)
    assert session.tokens == []
    for wrong in ({"temperature": 0.0}, {"temperature": float("nan")},
                  {"temperature": 1.0, "seed": -1}):
        with pytest.raises(UserError):
            next(session.generate([1], 1, **wrong))


def test_a_new_sequence_begins_at_the_first_token():
    with Bench() as bench:
        session = Session(WEIGHTS, [bench.serial(patience=Patience()), CpuBackend()])
        for _ in range(2):
            assert list(session.generate(PROMPT, COUNT)) == undisturbed()
            session.reset()
        assert session.backend.name == "serial"
        session.close()
