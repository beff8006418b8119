# SPDX-License-Identifier: Apache-2.0
"""A whole accelerator that decodes, behind AXI4-Lite and AXI4, through the driver of a board.

A small model whose every logit is compared; `tests/hw/test_accelerator.py` has the same buses
around a stand-in, where the quick suite looks at every case.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden_model.control.token_loop import Start
from host.backends.sampling import GREEDY, Sampling
from host.compile.image import Image, parse_image
from host.errors import UserError
from host.registers import DeviceError
from hw.accelerator import Accelerator
from sim.system import System
from tests.hw.whole import SHAPE, WINDOW, configuration, image_of, opened, prompt

pytestmark = [pytest.mark.cocotb, pytest.mark.slow]
CONFIG = configuration()
IMAGE = image_of(CONFIG)
LONG = 2 * WINDOW + 5
BURST = CONFIG.system.axi.max_burst * CONFIG.system.axi.beat_bytes


@pytest.fixture(scope="module")
def running():
    driver, system, judge = opened(CONFIG, IMAGE)
    with system:
        yield driver, system, judge


@pytest.fixture
def fresh(running):
    driver, system, judge = running
    system.temper()
    driver.registers.write("watchdog_limit", value=1 << 20)
    driver.reset()
    driver.load(IMAGE)
    judge.soft_reset()
    judge.sampling = GREEDY
    system.record(logits=True)
    system.logits(), system.tokens(), system.given()
    return running


def run(driver, judge, start, slot=0, sampling=GREEDY):
    """One start on both; returns its text."""
    judge.sampling = sampling
    expected, error = judge.text(start, slot)
    got = list(driver.stream(start.prompt, start.generate, sampling, stop=start.stop, slot=slot))
    assert error is None
    assert got == expected
    assert driver.position(slot) == judge.slots[slot].position
    return got


def test_text_past_the_window_and_its_logits(fresh):
    driver, system, judge = fresh
    run(driver, judge, Start(prompt=prompt(LONG), generate=9))
    logits, scales = system.logits()
    decoder = judge.decoders[0]
    assert decoder.position == LONG + 8
    assert logits.size == scales.size == 9 * SHAPE.vocab
    assert len(system.tokens()) == LONG + 8


@pytest.mark.parametrize("memory_latency", [1, 20, 97])
def test_logits_are_the_exact_models_however_slow_the_memory_is(fresh, memory_latency):
    driver, system, judge = fresh
    system.temper(latency=memory_latency)
    for number in range(WINDOW + 2):
        run(driver, judge, Start(prompt=prompt(1, number), generate=1))
        exact = judge.decoders[0]
        logits, _ = system.logits()
        # The judge has read the token: its last logits are those of the hardware.
        wanted = replay(exact, [*(prompt(1, n)[0] for n in range(number + 1))])
        assert logits.tolist() == wanted


def replay(decoder, tokens):
    """Logits behind the last of some tokens."""
    again = type(decoder)(decoder.weights, window=WINDOW)
    return again.forward(tokens)[-1].tolist()


@pytest.mark.parametrize(("temperature", "seed"), [(0.7, 1), (1.0, 0), (3.0, 12345)])
def test_drawn_text_is_the_golden_models(fresh, temperature, seed):
    driver, _, judge = fresh
    sampling = Sampling.of(temperature, seed)
    first = run(driver, judge, Start(prompt=prompt(3), generate=10), 0, sampling)
    assert driver.registers.read("random_state")["value"] == judge.sampling.state
    assert run(driver, judge, Start(prompt=prompt(3), generate=10), 1, sampling) == first
    # The state goes on where it was.
    assert run(driver, judge, Start(generate=4), 0, judge.sampling)


def test_a_saved_sequence_goes_on_in_another_device(fresh):
    driver, _, judge = fresh
    other, system, _ = opened(CONFIG, IMAGE)
    with system:
        for read in (3, WINDOW, LONG):
            driver.clear()
            judge.slots[0] = judge.slots[0].cleared()
            run(driver, judge, Start(prompt=prompt(read), generate=1))
            words = driver.save()
            other.restore(words, 1)
            assert other.position(1) == read
            assert other.save(1) == words
            expected, _ = judge.text(Start(prompt=prompt(2, 9), generate=WINDOW))
            assert list(other.stream(prompt(2, 9), WINDOW, slot=1)) == expected
            assert list(driver.stream(prompt(2, 9), WINDOW)) == expected


def test_a_state_cut_short_is_refused(fresh):
    driver, _, judge = fresh
    run(driver, judge, Start(prompt=prompt(WINDOW), generate=1))
    words = driver.save()
    with pytest.raises(DeviceError, match="kv_order"):
        driver.restore([words[0] - 4, *words[1:-1]], 1)
    driver.registers.clear_errors()
    run(driver, judge, Start(prompt=(3,), generate=2), 1)


def attempt(driver, start):
    """Return the text of a start, and what it ends with."""
    text = []
    try:
        text += driver.stream(start.prompt, start.generate)
    except DeviceError as error:
        return text, str(error)
    return text, ""


def rests(driver, system):
    """Whether the token in work comes to its end by itself."""
    for _ in range(1000):
        if driver.registers.read("status")["idle"]:
            return True
        irq = driver.registers.read("irq_status")
        driver.registers.write("irq_status", **irq)   # time stands still while one is up
        system.run(1000)
    return False


@pytest.mark.parametrize("response", [2, 3])
def test_bus_errors_at_any_time_are_sticky_and_hang_nothing(fresh, response):
    driver, system, judge = fresh
    rng = np.random.default_rng(response)
    name = {2: "bus_slave", 3: "bus_decode"}[response]
    span = 16 * len(IMAGE.beats)
    told = 0
    for _ in range(8):
        start = Start(prompt=prompt(2, int(rng.integers(99))), generate=2)
        at = 0x1_0000 + int(rng.integers(span))
        system.temper(latency=int(rng.integers(1, 40)), bad=range(at, at + 4096),
                      response=response)
        text, message = attempt(driver, start)
        if message:
            told += 1
            assert name in message
            assert rests(driver, system)
            assert name in driver.registers.errors()
            burst = driver.registers.read("error_address_low")["value"]
            assert at - BURST < burst < at + 4096
        else:   # it did not read there
            assert text == judge.text(start)[0]
        system.temper()
        driver.reset()
        judge.soft_reset()
        run(driver, judge, start)
        driver.reset()
        judge.soft_reset()
    assert told


def test_a_silent_memory_trips_the_watchdog_and_late_answers_do_no_harm(fresh):
    driver, system, judge = fresh
    run(driver, judge, Start(prompt=prompt(2), generate=2))
    driver.registers.write("watchdog_limit", value=500)
    for latency in (3, 20, 200):
        system.temper(silent=True)
        with pytest.raises(DeviceError, match="watchdog"):
            list(driver.stream((5, 6), 3))
        system.run(600)
        assert "bus_lost" in driver.registers.errors()
        system.temper(latency=latency)
        driver.reset()
        judge.soft_reset()
        run(driver, judge, Start(prompt=prompt(3, latency), generate=3))


def test_a_soft_reset_within_a_token_recovers(fresh):
    driver, system, judge = fresh
    rng = np.random.default_rng(4)
    for _ in range(12):
        driver.registers.write("prompt_count", value=2)
        driver.registers.write("generate_count", value=5)
        driver.registers.write("control", start=1)
        driver.registers.write("prompt_token", token=3)
        driver.registers.write("prompt_token", token=4)
        system.run(int(rng.integers(1, 5000)))
        driver.reset()
        judge.soft_reset()
        assert driver.position() == 0
        run(driver, judge, Start(prompt=prompt(2), generate=2))


def spoilt(content):
    """Return such bytes as an image that nobody checked."""
    beats = np.frombuffer(content, np.uint8).reshape(-1, IMAGE.beats.shape[1])
    return Image(beats, IMAGE.config_hash, IMAGE.model_hash, IMAGE.program, IMAGE.header)


def bad_images():
    """Yield damaged, shortened and foreign images."""
    rng = np.random.default_rng(7)
    content, size = IMAGE.content, IMAGE.beats.shape[1]
    for place in [0, 4, 8, *rng.integers(0, len(content), 6).tolist(), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        yield spoilt(bytes(changed))
    for beats in (1, 5, len(IMAGE.beats) // 2, len(IMAGE.beats) - 1):
        yield spoilt(content[:size * beats])
    yield image_of(replace(CONFIG, name="another"))
    wider = replace(CONFIG, array=replace(CONFIG.array, rows=2, lanes=32))
    yield spoilt(image_of(wider).content)


def test_bad_images_are_refused_by_host_and_hardware(fresh):
    driver, _, judge = fresh
    for number, image in enumerate(bad_images()):
        with pytest.raises(UserError):
            driver.load(image)
        with pytest.raises(DeviceError, match="image_header"):
            driver.put(image)
        driver.registers.clear_errors()
        with pytest.raises(DeviceError, match="image_header"):
            list(driver.stream((1,), 1))
        assert driver.registers.read("status")["idle"], number
    driver.reset()
    driver.load(IMAGE)
    judge.soft_reset()
    run(driver, judge, Start(prompt=(3, 4), generate=3))


def test_the_file_of_an_image_is_checked():
    size = IMAGE.beats.shape[1]
    assert parse_image(IMAGE.content, size, IMAGE.config_hash).program == IMAGE.program
    for image in bad_images():
        with pytest.raises(UserError):
            parse_image(image.content, size, IMAGE.config_hash)


@pytest.mark.skipif(not Path("/usr/include/lz4.h").exists(),
                    reason="lz4.h is not installed: apt-get install liblz4-dev")
def test_waves_show_a_token(tmp_path):
    path = tmp_path / "token.fst"
    with System(Accelerator(CONFIG), waves=path) as system:
        system.run(200)
    assert path.stat().st_size > 1000
    assert path.read_bytes()[0] == 0   # FST: a header block comes first
