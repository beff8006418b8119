# SPDX-License-Identifier: Apache-2.0
"""The estimate that refuses what cannot fit."""

import dataclasses
from dataclasses import replace

import pytest

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.area import capacity_problems, estimate
from golden_model.presets import PRESETS, TARGETS


def changed(name: str, **values: object) -> AcceleratorConfig:
    config = PRESETS[name]
    return replace(config, array=replace(config.array, **values))


@pytest.mark.parametrize(("field", "value"), [
    ("rows", 64), ("lanes", 512), ("digit_bits", 8), ("max_k", 65_536)])
def test_more_of_anything_takes_more(field: str, value: int) -> None:
    small, large = PRESETS["axi128"], changed("axi128", **{field: value}, acc_bits=32)
    measure = "memory_bits" if field == "max_k" else "luts"
    assert getattr(estimate(large), measure) > getattr(estimate(small), measure)


@pytest.mark.parametrize(("name", "bits"), [
    # Words of lanes x digit bits, in whole blocks: 9 x 36 >= 64 x 5; 5 x 16 >= 16 x 5; and
    # 1,024 words of 200 bits are two deep and three wide.
    ("ulx3s", 9 * 18_432), ("icebreaker", 5 * 4_096), ("axi128", 6 * 36_864)])
def test_tile_memory_is_counted_in_whole_blocks(name: str, bits: int) -> None:
    assert estimate(PRESETS[name]).memory_bits == bits


def test_a_device_without_limits_refuses_nothing() -> None:
    config = changed("tiny", rows=1024, lanes=4096, max_k=1 << 20, acc_bits=48)
    assert capacity_problems(config) == []


def test_every_limit_that_is_passed_is_named() -> None:
    config = replace(changed("tiny", rows=64, max_k=1 << 19, acc_bits=32), target=TARGETS["up5k"])
    assert [knob for knob, _ in capacity_problems(config)] == ["array.rows", "array.max_k"]
    (_, luts), (_, memory) = capacity_problems(config)
    assert "LUT4 are needed, it has 5,280; lower array.rows" in luts
    assert "it has 1,171,456; lower array.max_k" in memory


def test_the_limit_itself_still_fits() -> None:
    need = estimate(PRESETS["ulx3s"])
    exact = dataclasses.replace(TARGETS["ecp5-85f"], luts=need.luts, memory_bits=need.memory_bits)
    assert capacity_problems(replace(PRESETS["ulx3s"], target=exact)) == []
    short = dataclasses.replace(exact, luts=need.luts - 1, memory_bits=need.memory_bits - 1)
    assert len(capacity_problems(replace(PRESETS["ulx3s"], target=short))) == 2
