# SPDX-License-Identifier: Apache-2.0
"""The GPU behind the driver's interface, emulated too; and its place in ``auto``."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.exact import ExactDecoder
from host.backends import gpu as module
from host.backends.base import BackendError, Limits
from host.backends.cpu import CpuBackend
from host.backends.gpu import GpuBackend
from host.backends.sampling import GREEDY, Sampling
from host.backends.select import Candidate, candidates, choose
from host.backends.session import Session
from host.gpu.runtime import GpuError, absence
from host.gpu.token.decoder import TokenDecoder
from tests.host.gpu.token.emulated import EmulatedDevice, PlainProducts, compiler
from tests.host.link.harness import SHAPE, WEIGHTS


def emulated(device, weights, window):
    return TokenDecoder(device, weights, window, PlainProducts(device))


@pytest.fixture(params=["emulated", "device"])
def backend(request):
    if request.param == "device":
        if absence():
            pytest.skip(absence())
        return GpuBackend()
    if compiler() is None:
        pytest.skip("there is no g++ on this machine")
    return GpuBackend(EmulatedDevice(), emulated)


def test_the_interface(backend):
    with pytest.raises(BackendError, match="no model is loaded"):
        backend.prefill([1])
    backend.load(WEIGHTS, SHAPE.context)
    golden, tokens = ExactDecoder(WEIGHTS), [0, 4, 9, 2, 18]
    wanted = golden.forward(tokens)[-1]
    assert backend.logits() is None
    assert backend.prefill(tokens) == wanted.argmax()
    assert np.array_equal(backend.logits().values, wanted)
    assert backend.logits().scale == golden.logit_scale[-1]
    saved = backend.save()
    after = [backend.decode(7), backend.decode(3)]
    backend.restore(saved)
    assert backend.position == saved.position == 5
    assert [backend.decode(7), backend.decode(3)] == after
    assert backend.counters()["tokens"] == 9
    sampling = Sampling.of(0.9, 4)
    backend.reset()
    assert backend.prefill(tokens, sampling) == sampling.draw(wanted, golden.logit_scale[-1])
    backend.reset()
    assert backend.save().position == 0
    backend.restore(backend.save())
    for wrong in (replace(saved, form="other"), replace(saved, data=saved.data[:-4]),
                  replace(saved, position=4)):
        with pytest.raises(BackendError):
            backend.restore(wrong)
    backend.close()


def test_states_pass_between_the_cpu_and_the_gpu(backend):
    cpu = CpuBackend()
    for each in (cpu, backend):
        each.load(WEIGHTS, 6)
    cpu.prefill([0, 4, 9, 2, 18, 3, 3, 1])
    backend.restore(cpu.save())
    assert [backend.decode(t) for t in (5, 6)] == [cpu.decode(t) for t in (5, 6)]
    assert np.array_equal(backend.logits().values, cpu.logits().values)
    cpu.restore(backend.save())
    assert [backend.decode(t) for t in (7, 8)] == [cpu.decode(t) for t in (7, 8)]
    backend.close()


def test_a_gpu_that_fails_is_followed_by_the_cpu(backend):
    failing, notices = backend.prefill, []

    def prefill(tokens, sampling=GREEDY):
        if backend.position > 6:
            raise GpuError("CUDA failed while running kernels: out of order")
        return failing(tokens, sampling)
    backend.prefill = prefill
    session = Session(WEIGHTS, [backend, CpuBackend()], 6, save_every=3, notice=notices.append)
    assert list(session.generate([0, 5], 12)) == list(
        ExactDecoder(WEIGHTS, window=6).generate([0, 5], 12))
    assert "cpu goes on after 7 tokens" in notices[0]


class Small(CpuBackend):
    """An accelerator that is too small for the model."""

    name = "serial"

    @property
    def limits(self):
        return Limits(columns=8)


def test_what_is_beyond_the_accelerator_goes_to_the_gpu():
    offered = [Candidate("serial", Small),
               Candidate("gpu", lambda: GpuBackend(EmulatedDevice(), emulated)),
               Candidate("cpu", CpuBackend)]
    chosen = choose("auto", offered, WEIGHTS, 24, 24)
    assert chosen.reasons == [
        "serial: it takes vectors of 8 elements, the model has 14", "gpu: first choice",
        "cpu: stands by"]
    with pytest.raises(BackendError):
        chosen.backends[0].prefill([0])


def test_and_to_the_cpu_where_there_is_none(monkeypatch):
    def none():
        raise GpuError("there is no NVIDIA GPU on this machine")
    monkeypatch.setattr(module, "device", none)
    chosen = choose("auto", candidates(), WEIGHTS, 24, 24)
    assert [each.name for each in chosen.backends] == ["cpu"]
    simulated, *others = chosen.reasons
    assert simulated.startswith("sim: simulates every cycle: only if asked for")
    assert others == ["gpu: there is no NVIDIA GPU on this machine", "cpu: first choice"]


def test_a_model_beyond_the_kernels_goes_to_the_cpu():
    wide = replace(WEIGHTS, numerics=replace(WEIGHTS.numerics, kv_bits=16, bos_bits=16))
    offered = [Candidate("gpu", lambda: GpuBackend(EmulatedDevice(), emulated)),
               Candidate("cpu", CpuBackend)]
    chosen = choose("auto", offered, wide, 24, 24)
    assert "KV codes of at most 8 bits" in chosen.reasons[0]
    assert chosen.reasons[1] == "cpu: first choice"
