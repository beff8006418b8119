# SPDX-License-Identifier: Apache-2.0
"""A whole accelerator that reads prompts in chunks, through the driver of a board."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.control.chunk_loop import chunk_sizes, ready_cycles
from golden_model.control.token_loop import Start
from host import tools
from host.registers import DeviceError
from host.token_cycles import TokenCycles
from hw.accelerator import Accelerator
from hw.emit import emit_verilog, lint_waivers
from tests.hw.whole import SHAPE, WEIGHTS, WINDOW, configuration, image_of, opened, prompt

pytestmark = [pytest.mark.cocotb, pytest.mark.slow]
BATCH = 3
SINGLE = configuration(memory="block", grouped=True)
CONFIG = replace(SINGLE, array=replace(SINGLE.array, batch=BATCH))
IMAGE = image_of(CONFIG)


@pytest.fixture(scope="module")
def running():
    driver, system, judge = opened(CONFIG, IMAGE)
    with system:
        yield driver, system, judge


@pytest.fixture
def fresh(running):
    driver, system, judge = running
    driver.reset()
    judge.soft_reset()
    system.record(logits=True)
    system.logits(), system.tokens(), system.given()
    return running


def run(driver, judge, start, slot=0):
    """One start on both; returns its text."""
    expected, error = judge.text(start, slot)
    got = list(driver.stream(start.prompt, start.generate, stop=start.stop, slot=slot))
    assert error is None
    assert got == expected
    assert driver.position(slot) == judge.slots[slot].position
    return got


def reads(system):
    """First and last cycle of each chunk that was read, and its tokens."""
    spans, counts = np.unique(system.tokens(), axis=0, return_counts=True)
    return spans, counts.tolist()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 2 * WINDOW + 1])
def test_text_and_cycles_are_the_golden_models(fresh, length):
    """Past the window as well; the loop's cycles too, but for the prompt on its way to the queue.

    The slot is opened ahead, so that no token waits for that.
    """
    driver, system, judge = fresh
    driver.clear()
    text = run(driver, judge, Start(prompt=prompt(length), generate=5))
    spans, counts = reads(system)
    assert counts == chunk_sizes(CONFIG.token_loop, length + 4, length)
    took = spans[:, 1] - spans[:, 0]
    expected = TokenCycles(CONFIG, WEIGHTS).read([*prompt(length), *text[:-1]], length)
    assert (took + 1).tolist() == expected
    model = np.array(ready_cycles(CONFIG.token_loop, counts, length, took.tolist()))
    written = len(counts) - 5
    assert np.array_equal(spans[written:] - spans[written, 1],
                          model[written:] - model[written, 1])
    logits, _ = system.logits()
    assert logits.size == 5 * SHAPE.vocab   # nobody else's successor is made


def test_chunks_of_two_sequences_take_turns(fresh):
    driver, _, judge = fresh
    for number in range(6):
        run(driver, judge, Start(prompt=prompt(2 + number, number), generate=number % 3),
            number % 2)


def test_a_saved_sequence_goes_on_in_chunks(fresh):
    driver, _, judge = fresh
    run(driver, judge, Start(prompt=prompt(WINDOW + 2), generate=1))
    words = driver.save()
    driver.restore(words, 1)
    expected, _ = judge.text(Start(prompt=prompt(5, 9), generate=WINDOW))
    assert list(driver.stream(prompt(5, 9), WINDOW, slot=1)) == expected
    assert list(driver.stream(prompt(5, 9), WINDOW)) == expected
    assert driver.save() == driver.save(1)


@pytest.mark.parametrize("place", range(5))
def test_a_token_that_is_none_ends_the_start_behind_those_ahead_of_it(fresh, place):
    driver, system, judge = fresh
    tokens = list(prompt(5))
    tokens[place] = SHAPE.vocab
    with pytest.raises(DeviceError, match="token_range"):
        list(driver.stream(tokens, 2))
    assert driver.position() == place
    assert len(system.tokens()) == place
    driver.reset()
    judge.soft_reset()
    run(driver, judge, Start(prompt=prompt(4, 8), generate=3))


def test_a_prompt_past_the_context_is_read_up_to_it(fresh):
    driver, _, judge = fresh
    with pytest.raises(DeviceError, match="kv_capacity"):
        list(driver.stream(prompt(SHAPE.context + 1), 2))
    assert driver.position() == SHAPE.context
    driver.reset()
    judge.soft_reset()
    run(driver, judge, Start(prompt=prompt(3), generate=3))


def test_counters_count_tokens_and_each_shared_beat_once(fresh):
    driver, _, judge = fresh
    counted = []
    for length in (BATCH, 1):
        driver.registers.write("control", clear_counters=1)
        run(driver, judge, Start(prompt=prompt(length), generate=0))
        counted.append(driver.counters())
    assert [each["tokens"] for each in counted] == [BATCH, 1]
    dense = sum(one.fields.get("beats", one.fields.get("gate_beats", 0))
                for one in IMAGE.program if one.name in ("attend", "feed_forward"))
    assert dense < counted[0]["weight_beats"] < BATCH * counted[1]["weight_beats"]
    assert counted[0]["weight_beats"] - counted[1]["weight_beats"] < (BATCH - 1) * dense


def test_a_soft_reset_within_a_chunk_recovers(fresh):
    driver, system, judge = fresh
    rng = np.random.default_rng(4)
    for _ in range(8):
        driver.registers.write("prompt_count", value=BATCH)
        driver.registers.write("generate_count", value=2)
        driver.registers.write("control", start=1)
        for token in prompt(BATCH):
            driver.registers.write("prompt_token", token=token)
        system.run(int(rng.integers(1, 9000)))
        driver.reset()
        judge.soft_reset()
        assert driver.position() == 0
        run(driver, judge, Start(prompt=prompt(4), generate=2))


def test_its_verilog_raises_no_warning(tmp_path):
    (tmp_path / "waivers.vlt").write_text(lint_waivers(), encoding="utf-8")
    (tmp_path / "top.v").write_text(emit_verilog(Accelerator(CONFIG), "top"), encoding="utf-8")
    done = tools.run(["verilator", "--lint-only", "-Wall", "waivers.vlt", "top.v", "--top-module",
                      "top"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout
