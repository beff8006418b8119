# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.control.token_loop import Start, ready_cycles
from golden_model.registers import register
from host.compile.image import Image
from host.errors import UserError
from host.registers import DeviceError
from hw.accelerator import Accelerator
from tests.hw.stand_in import FAULTY, STATE_WORDS
from tests.hw.systems import (
    CONTEXT,
    VOCAB,
    WINDOW,
    WithStandIn,
    configuration,
    image_of,
    opened,
    prompt,
)
from tests.mutants import mutant

pytestmark = pytest.mark.cocotb
# Each is a whole compiled simulation; the quick benches on Icarus have the others.
CONFIGS = [pytest.param(configuration(), id="axi_lite-block"),
           pytest.param(configuration("wishbone", "axi"), id="wishbone-axi",
                        marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=CONFIGS)
def running(request):
    driver, system, judge = opened(request.param)
    with system:
        yield driver, system, judge


@pytest.fixture
def fresh(running):
    driver, system, judge = running
    system.temper()
    driver.registers.write("watchdog_limit", value=1 << 20)
    driver.reset()
    driver.load(image_of(driver.config))
    judge.soft_reset()
    system.tokens(), system.given(), system.steps()
    return running


def raw(driver, name):
    return driver.registers.word(name)


def run(driver, judge, start, slot=0):
    """One start on both; returns its text."""
    expected, error = judge.text(start, slot)
    got = list(driver.stream(start.prompt, start.generate, stop=start.stop, slot=slot))
    assert error is None
    assert got == expected
    assert driver.position(slot) == judge.slots[slot].position
    return got


def test_text_and_the_cycles_of_every_token(fresh):
    driver, system, judge = fresh
    run(driver, judge, Start(prompt=(1,), generate=1))   # opens the slot
    system.tokens()
    driver.registers.write("prompt_count", value=4)
    driver.registers.write("generate_count", value=4)
    reads, _ = judge.start(Start(prompt=prompt(4), generate=4))
    for token in prompt(4):
        driver.registers.write("prompt_token", token=token)
    driver.registers.write("control", start=1)
    system.run(3000)
    for _ in range(6):
        system.run(3000)
        driver._acknowledge()
    text = [driver.registers.read("generated_token") for _ in range(4)]
    assert [token["token"] for token in text] == [read.following for read in reads[3:]]
    assert [token["last"] for token in text] == [0, 0, 0, 1]
    spans = system.tokens()
    assert len(spans) == 7
    first = spans[0, 0]
    model = np.array(ready_cycles(driver.config.token_loop, spans[:, 1] - spans[:, 0]))
    assert np.array_equal(spans - first, model - model[0, 0])


def test_a_prompt_longer_than_the_queue_and_a_text_too(fresh):
    driver, _, judge = fresh
    assert len(run(driver, judge, Start(prompt=prompt(11), generate=9))) == 9


def test_sequences_in_two_slots_go_on_where_they_were(fresh):
    driver, _, judge = fresh
    for slot, count, more in ((0, 3, 2), (1, 2, 3), (0, 0, 2), (1, 1, 1), (0, 2, 0), (1, 0, 4)):
        run(driver, judge, Start(prompt=prompt(count, slot), generate=more), slot)
    assert not list(driver.stream((), 0))
    # Nothing follows a prompt whose successor nobody wanted.
    assert run(driver, judge, Start(generate=3)) == []


def test_the_stop_token_ends_a_text(fresh):
    driver, _, judge = fresh
    whole = judge.text(Start(prompt=(5, 6), generate=8))[0]
    judge.soft_reset()
    got = run(driver, judge, Start(prompt=(5, 6), generate=8, stop=whole[4]))
    assert got == whole[:5]


def test_an_abort_ends_after_the_token_in_work(fresh):
    driver, system, judge = fresh
    driver.registers.write("prompt_count", value=1)
    driver.registers.write("generate_count", value=1000)
    driver.registers.write("prompt_token", token=9)
    driver.registers.write("control", start=1)
    system.run(2000)
    driver.registers.write("control", abort=1)
    text = []
    while not text or not text[-1]["last"]:
        if driver.registers.read("levels")["generated"]:
            text.append(driver.registers.read("generated_token"))
        assert len(text) < 20
    driver._until_idle()
    expected = judge.text(Start(prompt=(9,), generate=len(text)))[0]
    assert [token["token"] for token in text] == expected


def test_a_saved_sequence_goes_on_in_another_slot(fresh):
    driver, _, judge = fresh
    run(driver, judge, Start(prompt=prompt(5), generate=3), 0)
    words = driver.save(0)
    assert words[:2] == [4 * (7 * STATE_WORDS + 1), 7]
    assert len(words) == 2 + 7 * STATE_WORDS
    driver.restore(words, 1)
    judge.slots[1], judge.states[1] = judge.slots[0], judge.states[0]
    assert run(driver, judge, Start(prompt=(1, 2), generate=5), 1) == run(
        driver, judge, Start(prompt=(1, 2), generate=5), 0)


def test_a_sequence_longer_than_the_window_is_saved_and_restored(fresh):
    driver, _, judge = fresh
    run(driver, judge, Start(prompt=prompt(WINDOW + 3), generate=1))
    words = driver.save()
    assert words[:2] == [4 * (WINDOW * STATE_WORDS + 1), WINDOW + 3]
    driver.restore(words)
    judge.slots[0] = judge.slots[0].restored(WINDOW + 3, len(words) - 2)
    run(driver, judge, Start(prompt=(4,), generate=3))


def check_saved_words(driver, system, judge):
    """Save a sequence, and another one after a reset that a save was under way at."""
    for length in (2, 3):
        run(driver, judge, Start(prompt=prompt(length), generate=1))
        words = [judge.states[0] ^ left << 24 for left in range(length * STATE_WORDS, 0, -1)]
        assert driver.save()[2:] == words
        driver.registers.write("kv_control", save=1)
        for _ in range(4):
            system.run(50)
            driver.registers.word("kv_save_data")
        system.run(50)
        driver.reset()
        judge.soft_reset()


def test_saved_words_are_those_of_the_cache(fresh):
    check_saved_words(*fresh)


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), [
    ("core.o_save.ready.eq(~full)", "core.o_save.ready.eq(1)"),
    ("full.eq(core.o_save.valid)", "full.eq(1)"),
    ("with m.If(control.soft_reset):\n            m.d.sync += full.eq(0)",
     "with m.If(0):\n            m.d.sync += full.eq(0)")])
def test_a_planted_bug_in_the_register_of_saved_words_is_noticed(old, new):
    changed = type("Changed", (mutant(Accelerator, old, new),),
                   {"make_core": WithStandIn.make_core})
    driver, system, judge = opened(configuration(), build=changed)
    with system, pytest.raises((AssertionError, DeviceError)):
        check_saved_words(driver, system, judge)


def test_an_empty_sequence_is_saved_and_restored(fresh):
    driver, _, judge = fresh
    words = driver.save(1)
    assert words == [4, 0]
    run(driver, judge, Start(prompt=(1, 2), generate=1))
    driver.restore(words, 0)
    assert driver.position(0) == 0
    judge.slots[0] = judge.slots[0].cleared()
    run(driver, judge, Start(prompt=(3,), generate=2))


@pytest.mark.parametrize("spoil", [lambda words: [words[0] + 4, *words[1:], 5],
                                   lambda words: [words[0] - 8, *words[1:-2]],
                                   lambda words: [words[0] + 1, *words[1:2]],
                                   lambda words: [words[0], 0, *words[2:]],
                                   lambda words: [4, words[1]]])
def test_a_state_of_a_wrong_length_leaves_the_slot_empty(fresh, spoil):
    driver, _, judge = fresh
    run(driver, judge, Start(prompt=prompt(4), generate=2))
    words = driver.save()
    with pytest.raises(DeviceError, match="kv_order"):
        driver.restore(spoil(words), 1)
    driver.registers.clear_errors()
    assert driver.position(1) == 0
    run(driver, judge, Start(prompt=(3,), generate=2), 1)
    run(driver, judge, Start(prompt=(3,), generate=2), 0)


@pytest.mark.parametrize(("start", "slot", "error"), [
    (Start(prompt=(3, VOCAB), generate=2), 0, "token_range"),
    (Start(prompt=prompt(CONTEXT), generate=2), 0, "kv_capacity"),
    (Start(prompt=(3, 4), generate=2), 2, "kv_slot"),
    (Start(prompt=(3, FAULTY), generate=2), 0, "program_opcode")])
def test_a_start_that_cannot_be_ends_with_its_error(fresh, start, slot, error):
    driver, _, judge = fresh
    with pytest.raises(DeviceError, match=error):
        list(driver.stream(start.prompt, start.generate, slot=slot))
    assert driver.registers.read("status")["idle"]
    driver.reset()
    judge.soft_reset()
    run(driver, judge, Start(prompt=(3, 4), generate=3))


def test_bad_images_are_refused_and_the_next_is_taken(fresh):
    driver, _, judge = fresh
    sound = image_of(driver.config)
    rng = np.random.default_rng(4)
    places = [0, 5, 8, *rng.integers(0, sound.beats.size, 4).tolist(), sound.beats.size - 1]
    for place in places:
        beats = sound.beats.copy()
        beats.reshape(-1)[place] ^= 1 << rng.integers(8)
        spoilt = Image(beats, sound.config_hash, sound.model_hash, sound.program, sound.header)
        with pytest.raises(UserError, match="image"):
            driver.load(spoilt)
        with pytest.raises(DeviceError, match="image_header"):
            driver.put(spoilt)
        driver.registers.clear_errors()
        with pytest.raises(DeviceError, match="image_header"):
            list(driver.stream((1,), 1))
        assert driver.registers.read("status")["idle"]
    other = image_of(driver.config, hash_of="f" * 16)
    with pytest.raises(UserError, match="for configuration ffffffffffffffff"):
        driver.load(other)
    with pytest.raises(DeviceError, match="image_header"):
        driver.put(other)
    driver.load(image_of(driver.config))
    judge.soft_reset()
    run(driver, judge, Start(prompt=(3, 4), generate=3))


def test_a_soft_reset_forgets_every_sequence(fresh):
    driver, system, judge = fresh
    rng = np.random.default_rng(1)
    for _ in range(6):
        driver.registers.write("prompt_count", value=2)
        driver.registers.write("generate_count", value=9)
        driver.registers.write("control", start=1)
        driver.registers.write("prompt_token", token=3)
        driver.registers.write("prompt_token", token=4)
        system.run(int(rng.integers(1, 60)))
        driver.reset()
        judge.soft_reset()
        assert driver.position() == 0
        assert raw(driver, "levels") == 4
        run(driver, judge, Start(prompt=prompt(2), generate=2))


def test_counters(fresh):
    driver, system, judge = fresh
    driver.registers.write("control", clear_counters=1)
    run(driver, judge, Start(prompt=prompt(3), generate=3))
    counters = driver.counters()
    spans = system.tokens()
    assert counters["tokens"] == 5
    assert counters["weight_beats"] == 25
    assert counters["busy"] == int((spans[:, 1] - spans[:, 0] + 1).sum())
    assert counters["cycles"] > counters["busy"]


def test_words_of_an_image_are_refused_while_a_token_is_in_work(fresh):
    driver, _, _ = fresh
    if driver.config.system.memory == "axi":
        driver.registers.write("image_address", beat=0)
        driver.registers.write("image_address", beat=0)
    else:
        driver.registers.write("prompt_count", value=1)
        driver.registers.write("control", start=1)
        driver.registers.write("image_data", word=0)
        driver.registers.write("image_data", word=0)
    assert "image_write" in driver.registers.errors()


def test_memory_that_answers_with_errors_or_not_at_all(fresh):
    driver, system, judge = fresh
    if driver.config.system.memory == "block":
        pytest.skip("no memory outside")
    for response, name in ((2, "bus_slave"), (3, "bus_decode")):
        run(driver, judge, Start(prompt=(3, 4), generate=3))
        system.temper(bad=range(1 << 16, 1 << 18), response=response)
        with pytest.raises(DeviceError, match=name):
            list(driver.stream((5, 6), 3))
        assert driver.registers.read("error_address_low")["value"] >= 1 << 16
        system.temper()
        driver.reset()
        judge.soft_reset()
        run(driver, judge, Start(prompt=(3, 4), generate=3))
    driver.registers.write("watchdog_limit", value=500)
    for latency in (20, 3, 200):
        system.temper(silent=True)
        with pytest.raises(DeviceError, match="watchdog"):
            list(driver.stream((5, 6), 3))
        system.run(600)
        assert "bus_lost" in driver.registers.errors()
        system.temper(latency=latency)   # the late answers come now
        driver.reset()
        judge.soft_reset()
        run(driver, judge, Start(prompt=(3, 4), generate=3))


def test_accesses_that_no_register_takes_are_refused(fresh):
    driver, _, _ = fresh
    with pytest.raises(DeviceError, match="answered with an error"):
        driver.bus.write32(register("id").offset, 0)
    with pytest.raises(DeviceError, match="answered with an error"):
        driver.bus.read32(0xFFC)
