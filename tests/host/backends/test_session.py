# SPDX-License-Identifier: Apache-2.0
"""A device that fails at any moment: the session's tokens are those of an undisturbed run."""

import numpy as np
import pytest

from golden_model.exact import ExactDecoder
from golden_model.sampling import TemperatureSampler, greedy
from host.backends.base import Backend, BackendError
from host.backends.cpu import CpuBackend
from host.backends.sampling import GREEDY
from host.backends.session import Session
from host.errors import CheckFailedError, UserError
from host.link import trial
from host.link.faults import LASTING, PASSING
from host.link.link import Patience
from tests.host.link.harness import SHAPE, WEIGHTS, Bench

PROMPT = [0, 7, 3]
COUNT = 6


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


def check(count):
    """Strikes on the whole stack: none may cost a token, or hang."""
    found = [trial.strike(point) for point in range(count)]
    for point, each in enumerate(found):
        assert each.equal, (point, each)
        assert each.seconds < trial.HANG_SECONDS, (point, each)
    return found


def test_faults_at_random_places():
    found = check(50)
    assert 5 < sum(each.left for each in found) < 50  # some end the device's part, some are mended
    assert 3 < sum(each.uploading for each in found) < 47
    assert {each.fault for each in found} >= {"silence", "reset", "drop", "double", "flip"}


@pytest.mark.slow
def test_faults_at_a_thousand_places():
    found = check(1000)
    assert 100 < sum(each.left for each in found) < 1000
    assert {each.fault for each in found} == {*LASTING, *PASSING}


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
        self.tokens = [*self.tokens, *self.tokens[-1:]]


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


@pytest.mark.parametrize("make", [Amnesic, Stuttering])
def test_strikes_see_a_session_that_rebuilds_wrongly(make):
    found = [trial.strike(point, make) for point in range(25)]
    assert any(each.left and not each.equal for each in found)
    assert all(each.equal for each in found if not each.left)


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


class Decaying(CpuBackend):
    """Right for a while, then wrong: as a device whose memory has lost a bit."""

    name = "decaying"
    good = 12

    def load(self, weights, window):
        super().load(weights, window)
        self.decodes = 0

    def prefill(self, tokens, sampling=GREEDY):
        self.decodes += 1
        token = super().prefill(tokens, sampling)
        return token if self.decodes <= self.good else (token + 1) % SHAPE.vocab


def trials(good, canary_every, **more):
    """One text with a device that decays after so many calls: tokens, notices, session."""
    device = Decaying()
    device.good = good
    notices = []
    # Behind another class: the CPU itself is the judge, and is not tried.
    session = Session(WEIGHTS, [Plain(device), CpuBackend()], canary=2, canary_every=canary_every,
                      notice=notices.append, **more)
    return list(session.generate(PROMPT, 12)), notices, session


class Plain(Backend):
    """Any backend, seen as one that is not the CPU."""

    def __init__(self, inner):
        self.inner, self.name = inner, inner.name

    limits = property(lambda self: self.inner.limits)
    position = property(lambda self: self.inner.position)

    def load(self, weights, window):
        self.inner.load(weights, window)

    def reset(self):
        self.inner.reset()

    def prefill(self, tokens, sampling=GREEDY):
        return self.inner.prefill(tokens, sampling)

    def logits(self):
        return self.inner.logits()

    def save(self):
        return self.inner.save()

    def restore(self, state):
        self.inner.restore(state)

    def counters(self):
        return self.inner.counters()

    def close(self):
        self.inner.close()


def test_trials_while_a_text_goes_on_cost_no_token():
    tokens, notices, session = trials(good=1000, canary_every=4)
    assert tokens == undisturbed(count=12)
    assert (notices, session.trials, session.backend.name) == ([], 3, "decaying")


@pytest.mark.parametrize("save_every", [0, 1])
def test_a_device_that_begins_to_compute_something_else_is_left(save_every):
    """2 calls are the first trial; 3 reads, 2 of a trial; then one wrong answer ahead of the next.

    A state saved after that is not used; every later token follows from what was given.
    """
    tokens, notices, session = trials(good=2 + 2 + 2 + 1, canary_every=4, save_every=save_every)
    wanted = undisturbed(count=12)
    assert session.backend.name == "cpu"
    assert tokens[:3] == wanted[:3]
    wrong = next(place for place, (x, y) in enumerate(zip(tokens, wanted)) if x != y)
    assert wrong == 3
    assert "of a trial is" in notices[0]
    assert notices[1] == (f"the token behind the first {len(PROMPT) + wrong} was {tokens[wrong]}, "
                          f"cpu gives {wanted[wrong]}: the text from there on rests on a wrong "
                          "token")
    # From the first answer of the CPU on it is the golden model's continuation of what was given.
    decoder = ExactDecoder(WEIGHTS)
    logits = decoder.forward([*PROMPT, *tokens[:-1]])
    follow = [int(row.argmax()) for row in logits[len(PROMPT) - 1:]]
    assert [x == y for x, y in zip(tokens, follow)] == [True] * 3 + [False] * 2 + [True] * 7


def test_a_wrong_trial_without_a_wrong_answer_is_no_wrong_text():
    tokens, notices, session = trials(good=2 + 2, canary_every=4)
    assert tokens == undisturbed(count=12)
    assert len(notices) == 1
    assert session.backend.name == "cpu"
