# SPDX-License-Identifier: Apache-2.0
"""One interface, the same answers; and which backend is chosen, with the reasons."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from golden_model.config import Numerics, config_hash
from golden_model.exact import ExactDecoder
from golden_model.presets import preset
from golden_model.weights import random_weights
from host.backends.base import BackendError, Limits, SavedState
from host.backends.cpu import CpuBackend
from host.backends.limits import limits_of
from host.backends.sampling import GREEDY, Sampling
from host.backends.select import Candidate, Simulation, candidates, choose
from host.backends.session import Session
from host.errors import UserError
from host.link import trial
from host.link.link import Patience
from host.link.server import modelled
from tests.host.link.harness import SHAPE, WEIGHTS, Bench


@pytest.fixture(params=["cpu", "serial"])
def backend(request):
    if request.param == "cpu":
        yield CpuBackend()
    else:
        with Bench(queue=3) as bench:
            yield bench.serial(patience=Patience(), stall_seconds=5)


def test_the_interface(backend):
    backend.load(WEIGHTS, SHAPE.context)
    decoder = ExactDecoder(WEIGHTS)
    tokens = [0, 4, 9, 2, 18]
    wanted = decoder.forward(tokens)[-1]
    assert backend.position == 0
    assert backend.prefill(tokens) == wanted.argmax()
    assert backend.position == 5
    if backend.name == "cpu":
        assert np.array_equal(backend.logits().values, wanted)
        assert backend.logits().scale == decoder.logit_scale[-1]
    else:
        assert backend.logits() is None
    saved = backend.save()
    assert saved.position == 5
    after = [backend.decode(7), backend.decode(3)]
    backend.restore(saved)
    assert backend.position == 5
    assert [backend.decode(7), backend.decode(3)] == after
    assert backend.counters()["tokens"] == 9
    sampling = Sampling.of(0.9, 4)
    backend.reset()
    assert backend.position == 0
    assert backend.prefill(tokens, sampling) == sampling.draw(wanted, decoder.logit_scale[-1])
    backend.reset()
    assert backend.save().position == 0
    backend.close()
    with pytest.raises(BackendError):
        backend.prefill([1])


@pytest.mark.parametrize("change", [
    lambda s: replace(s, form="other"), lambda s: replace(s, data=s.data[:-4]),
    lambda s: replace(s, data=b""), lambda s: replace(s, data=s.data[:40] + b"abcd" + s.data[44:]),
    lambda s: replace(s, position=s.position + 1),
])
def test_states_that_cannot_be(backend, change):
    backend.load(WEIGHTS, SHAPE.context)
    backend.prefill([0, 4, 9])
    with pytest.raises(BackendError):
        backend.restore(change(backend.save()))


@pytest.mark.parametrize("raw", [b"x", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}", bytes(100)])
def test_states_of_bytes(raw):
    backend = CpuBackend()
    backend.load(WEIGHTS, SHAPE.context)
    with pytest.raises(BackendError, match="cannot be used"):
        backend.restore(SavedState("exact-1", 3, zlib.compress(raw)))


def test_a_draw_is_the_golden_samplers():
    logits, scale = ExactDecoder(WEIGHTS), None
    values = logits.forward([0, 3])[-1]
    scale = logits.logit_scale[-1]
    sampling = Sampling.of(0.8, 0)
    assert Sampling.from_registers(*sampling.registers) == sampling
    assert Sampling.from_registers(*GREEDY.registers) == GREEDY
    drawn = set()
    for _ in range(50):
        drawn.add(sampling.draw(values, scale))
        sampling = sampling.advanced
    assert len(drawn) > 3
    assert GREEDY.advanced is GREEDY


def test_limits_say_what_does_not_fit():
    assert Limits().misfit(WEIGHTS, 24, 24) is None
    for limits, words in ((Limits(columns=13), "vectors of 13 elements, the model has 14"),
                          (Limits(rows=18), "matrices of 18 rows, the model has 19"),
                          (Limits(window=8), "its window is 8 tokens, not 24")):
        assert words in limits.misfit(WEIGHTS, 24, 24)
    assert Limits(window=8).misfit(WEIGHTS, 24, 8) is None
    assert Limits(window=8).misfit(WEIGHTS, 8, 24) is None


def test_auto_takes_what_can_run_and_says_why_not():
    with Bench(window=8) as bench:
        offered = candidates(bench.path, gpu=False)
        chosen = choose("auto", offered, WEIGHTS, 24, 24)
        assert [each.name for each in chosen.backends] == ["cpu"]
        assert "its window is 8 tokens, not 24" in chosen.reasons[0]
        assert chosen.reasons[2] == "cpu: first choice"
        assert chosen.refusals == chosen.reasons[:2]
        chosen = choose("auto", offered, WEIGHTS, 8, 24)
        assert [each.name for each in chosen.backends] == ["serial", "cpu"]
        assert chosen.reasons[::2] == ["serial: first choice", "cpu: stands by"]
        assert "sim: simulates every cycle: only if asked for" in chosen.reasons[1]
        session = Session(WEIGHTS, chosen.backends, 8)
        tokens = list(session.generate([0, 5], 12))
        assert session.backend.name == "serial"
        session.close()
    assert tokens == list(ExactDecoder(WEIGHTS, window=8).generate([0, 5], 12))


def test_a_board_of_a_known_configuration_gets_its_image_or_a_reason():
    tiny = trial.CONFIG
    number = int(config_hash(tiny), 16)
    with Bench(make=lambda: modelled(CpuBackend(), trial.WEIGHTS, tiny)) as bench:
        offered = candidates(bench.path, config=tiny, gpu=False)
        chosen = choose("serial", offered, trial.WEIGHTS, 16, 24)
        assert chosen.reasons == ["serial: first choice"]
        session = Session(trial.WEIGHTS, chosen.backends, 16)
        assert list(session.generate(trial.PROMPT, trial.COUNT)) == trial.golden(None, 0)
        session.close()
    with Bench(window=tiny.window, config_hash=number) as bench:
        offered = candidates(bench.path, config=tiny, gpu=False)
        other = replace(trial.WEIGHTS, numerics=Numerics(act_format="int8"))
        assert choose("auto", offered, other, 16, 24).reasons[0] == (
            "serial: it was built for act_format = int4, the model has int8 (numerics)")
    with Bench() as bench:
        chosen = choose("auto", candidates(bench.path, config=tiny, gpu=False), WEIGHTS, 16, 24)
        assert "it was built for another" in chosen.reasons[0]


@pytest.mark.parametrize(("change", "sentence"), [
    ({}, None),
    ({"hidden": 260}, "the model's hidden is 260, tiny takes at most 256 (units.max_hidden)"),
    ({"ffn": 516}, "the model's ffn is 516, tiny takes at most 512 (units.max_ffn)"),
    ({"vocab": 513}, "the model's vocabulary is 513, tiny takes at most 512 (system.max_vocab)"),
    ({"heads": 6}, "the model's heads is 6, tiny takes at most 4 (system.heads)"),
    ({"layers": 20}, "the model's KV heads of all layers is 20, tiny takes at most"),
    ({"head_dim": 6}, "the model's head_dim is 6, which must be a multiple of 4"),
    ({"hidden": 256, "vocab": 512, "ffn": 512, "layers": 4},
     "tiny takes at most 24576 (system.depth)"),
])
def test_each_limit_names_value_limit_and_knob(change, sentence):
    shape = replace(trial.SHAPE, **change)
    reason = limits_of(trial.CONFIG).misfit(random_weights(shape, Numerics(), 1), 16, 8)
    assert (reason is None) if sentence is None else (sentence in reason)


def test_an_image_with_its_tables_is_a_limit_too():
    small = replace(trial.CONFIG, system=replace(trial.CONFIG.system, depth=150))
    assert limits_of(small).misfit(trial.WEIGHTS, 16, 8) == (
        "the model's image is 173 beats, tiny holds 150 (system.depth)")


def test_a_window_is_a_limit_only_for_what_goes_beyond_it():
    limits = limits_of(trial.CONFIG)
    assert limits.misfit(trial.WEIGHTS, 24, 16) is None
    assert limits.misfit(trial.WEIGHTS, 24, 17) == (
        "its window is 16 tokens, not 24, and 17 tokens go beyond it (window)")


def test_auto_simulates_only_what_is_named_and_built(monkeypatch):
    def reasons(simulation, asked="auto", weights=trial.WEIGHTS):
        return choose(asked, candidates(gpu=False, simulation=simulation), weights, 16, 24).reasons

    monkeypatch.setattr(Simulation, "_is_built", lambda self: True)
    assert reasons(Simulation(trial.CONFIG)) == ["sim: first choice", "cpu: stands by"]
    assert reasons(None)[0].startswith("sim: simulates every cycle")
    big = random_weights(replace(trial.SHAPE, ffn=516), Numerics(), 1)
    assert reasons(Simulation(trial.CONFIG), weights=big) == [
        "sim: the model's ffn is 516, tiny takes at most 512 (units.max_ffn)", "cpu: first choice"]
    array = reasons(Simulation(preset("icebreaker")))
    assert array[0] == "sim: icebreaker is no whole accelerator: it lacks units or system"
    monkeypatch.setattr(Simulation, "_is_built", lambda self: False)
    assert "is not built yet, which takes minutes" in reasons(Simulation(trial.CONFIG))[0]
    assert reasons(Simulation(trial.CONFIG, build=True), "sim") == ["sim: first choice"]


def test_a_port_that_is_not_there_is_a_reason():
    offered = candidates(Path("/dev/none"), gpu=False)
    chosen = choose("auto", offered, WEIGHTS, 24, 24)
    assert chosen.reasons[0] == "serial: /dev/none: No such file or directory"
    with pytest.raises(UserError, match="no backend can run this model\nserial: /dev/none"):
        choose("serial", offered, WEIGHTS, 24, 24)
    with pytest.raises(UserError, match="unknown backend 'gpu'"):
        choose("gpu", offered, WEIGHTS, 24, 24)
    with pytest.raises(UserError, match="context of 24"):
        choose("auto", offered, WEIGHTS, 24, 25)
    assert [each.name for each in candidates()] == ["sim", "gpu", "cpu"]
    assert choose("cpu", [Candidate("cpu", CpuBackend)], WEIGHTS, 24, 24).reasons == [
        "cpu: first choice"]


class Driver(RuleBasedStateMachine):
    """A session against a plain decoder, while the line and the device go wrong."""

    @initialize()
    def begin(self):
        self.bench = Bench(queue=2).__enter__()
        patience = Patience(first=0.02, longest=0.05, attempts=3)
        self.serial = self.bench.serial(patience=patience, stall_seconds=0.1, at={-1: "none"})
        self.port = self.serial.registers.link.port
        self.notices = []
        self.session = Session(WEIGHTS, [self.serial, CpuBackend()], save_every=3,
                               notice=self.notices.append)
        self.golden = ExactDecoder(WEIGHTS)

    def teardown(self):
        if hasattr(self, "bench"):
            self.session.close()
            self.bench.__exit__()

    @precondition(lambda self: self.golden.position < SHAPE.context - 3)
    @rule(tokens=st.lists(st.integers(0, SHAPE.vocab - 1), min_size=1, max_size=3),
          temperature=st.sampled_from([None, 0.5, 2.0]), seed=st.integers(0, 2**32 - 1))
    def read(self, tokens, temperature, seed):
        sampling = Sampling.of(temperature, seed)
        logits = self.golden.forward(tokens)[-1]
        wanted = sampling.draw(logits, self.golden.logit_scale[-1])
        assert self.session.read(tokens, sampling) == wanted
        assert len(self.session.tokens) == self.golden.position

    @rule(after=st.integers(0, 20), fault=st.sampled_from(
        ["drop", "flip", "double", "hold", "silence", "vanish", "reset", "babble"]))
    def strike(self, after, fault):
        self.port.at[self.port.pieces + after] = fault

    @rule()
    def restart(self):
        self.bench.device.restart(self.bench.fresh)

    @rule()
    def begin_anew(self):
        self.session.reset()
        self.golden.reset()

    @rule()
    def ask_too_much(self):
        with pytest.raises(UserError):
            self.session.read([SHAPE.vocab])


TestDriver = Driver.TestCase
TestDriver.settings = settings(max_examples=15, stateful_step_count=15, deadline=None,
                               suppress_health_check=list(HealthCheck))
