# SPDX-License-Identifier: Apache-2.0
"""The Verilated accelerator at the far end of a pseudo-terminal: image, check, text, state."""

import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.control.token_loop import Start
from golden_model.exact import ExactDecoder
from golden_model.sampling import TemperatureSampler
from golden_model.weights import random_weights
from host.backends.base import BackendError
from host.backends.cpu import CpuBackend
from host.backends.serial import SerialBackend
from host.backends.session import Session
from host.backends.sim import SimBus
from host.fit import image_for
from host.link import trial
from host.link.content import beat_words, content_of
from host.link.device import BusError
from host.link.link import Link, Patience
from host.link.port import TerminalPort
from host.link.server import DriverBus, Server
from host.registers import DeviceError
from hw.accelerator import Accelerator
from sim.system import System
from tests.hw.systems import CONTEXT, VOCAB, Judge, WithStandIn, configuration, image_of, prompt

SLICE = 500
# What the stand-in of a decoder needs of a model; it computes something else.
ANY = random_weights(ModelShape(vocab=VOCAB, hidden=8, ffn=8, layers=1, heads=2, kv_heads=1,
                                head_dim=4, context=CONTEXT), Numerics(), 1)


def over_a_line(server, image):
    link = Link(TerminalPort.open(server.path), Patience())
    return SerialBackend(link, stall_seconds=60.0, image=lambda _: image)


def device(system, config):
    return DriverBus(SimBus(system), config, lambda: system.run(SLICE))


@pytest.mark.cocotb
@pytest.mark.slow
@pytest.mark.parametrize("config", [
    pytest.param(configuration(), id="axi_lite-block"),
    pytest.param(configuration("wishbone", "axi"), id="wishbone-axi")])
def test_an_image_text_and_states_on_the_verilated_accelerator(config):
    image = image_of(config)
    judge = Judge(config, image)
    with System(WithStandIn(config)) as system, Server(device(system, config)) as server:
        backend = over_a_line(server, content_of(image, config))
        backend.load(ANY, config.window)
        assert backend.uploaded == content_of(image, config).beats
        tokens = prompt(5)
        given = [backend.prefill(tokens)]
        wanted, _ = judge.text(Start(prompt=tokens, generate=1))
        assert given == wanted
        saved = backend.save()
        assert saved.position == 5
        after = [backend.decode(3), backend.decode(4)]
        backend.restore(saved)
        assert backend.position == 5
        assert [backend.decode(3), backend.decode(4)] == after
        for word in (3, 4):
            wanted += judge.text(Start(prompt=(word,), generate=1))[0]
        assert [*given, *after] == wanted
        spoiled = bytearray(content_of(image, config).data)
        spoiled[5 * 4 * beat_words(config)] ^= 1
        backend.close()
        other = over_a_line(server, content_of(image, config)._replace(data=bytes(spoiled)))
        with pytest.raises(BackendError, match="it reports image_header"):
            other.load(ANY, config.window)
        other.close()


@pytest.mark.cocotb
@pytest.mark.slow
def test_text_of_the_real_decoder_and_what_the_cpu_makes_of_it():
    config, weights = trial.CONFIG, trial.WEIGHTS
    notices = []
    with System(Accelerator(config)) as system, Server(device(system, config)) as server:
        backend = over_a_line(server, content_of(image_for(weights, config), config))
        session = Session(weights, [backend, CpuBackend()], config.window, canary=2,
                          canary_every=8, save_every=4, notice=notices.append)
        tokens = []
        for token in session.generate(trial.PROMPT, 20, 0.9, 5):
            tokens.append(token)
            if len(tokens) == 14:
                assert (notices, session.backend.name) == ([], "serial")
                server.unplug()
        session.close()
    assert tokens == list(ExactDecoder(weights, window=config.window).generate(
        trial.PROMPT, 20, TemperatureSampler(0.9, 5)))
    assert len(notices) == 1


class Broken:
    """Every access fails."""

    def read32(self, *_):
        raise DeviceError("no answer")

    write32 = write_words = read32


@pytest.mark.parametrize("access", [
    lambda bus: bus.read(0), lambda bus: bus.read(2), lambda bus: bus.read(1 << 12),
    lambda bus: bus.write_image(0, [1, 2, 3, 4])])
def test_accesses_that_fail_are_refused(access):
    bus = DriverBus(Broken(), configuration(), lambda: 1)
    with pytest.raises(BusError):
        access(bus)
    assert not bus.tick()
