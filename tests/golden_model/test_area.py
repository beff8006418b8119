# SPDX-License-Identifier: Apache-2.0
"""The estimate that refuses what cannot fit."""

import dataclasses
from dataclasses import replace

import pytest

from golden_model.accelerator_config import AcceleratorConfig, UnitsConfig
from golden_model.area import capacity_problems, estimate
from golden_model.presets import PRESETS, TARGETS


def changed(name: str, **values: object) -> AcceleratorConfig:
    config = PRESETS[name]
    return replace(config, array=replace(config.array, **values))


@pytest.mark.parametrize(("field", "value"), [
    ("rows", 64), ("lanes", 512), ("digit_bits", 8), ("max_k", 65_536)])
def test_more_of_anything_takes_more(field: str, value: int) -> None:
    small = replace(PRESETS["axi128"], units=None)
    large = replace(small, array=replace(small.array, **{field: value}, acc_bits=32))
    measure = "memory_bits" if field == "max_k" else "luts"
    assert getattr(estimate(large), measure) > getattr(estimate(small), measure)


@pytest.mark.parametrize(("family", "lanes", "width", "measured"), [
    # The quantiser, masked product (with one of its own), rotary embedding, gather and gated
    # product of `tritforge synth`, with the scalar unit.
    ("generic", 4, 16, 4_779 + 5_576 + 768 + 263 + 2_032 - 946 + 534),
])
def test_the_estimate_of_the_units_is_near_what_was_measured(family: str, lanes: int, width: int,
                                                             measured: int) -> None:
    config = replace(PRESETS["tiny"], target=TARGETS[family], system=None,
                     units=UnitsConfig(lanes=lanes, up_width=width, down_width=width,
                                       max_hidden=512, max_ffn=1024))
    alone = estimate(replace(config, units=None)).luts
    assert abs(estimate(config).luts - alone - measured) < 0.15 * measured


def test_the_estimate_of_a_whole_accelerator_is_near_what_was_packed() -> None:
    assert abs(estimate(PRESETS["ulx3s"]).luts - 62_248) < 0.15 * 62_248


def test_too_many_queries_at_once_are_refused_with_their_knob() -> None:
    whole = PRESETS["ulx3s"]
    assert whole.system is not None
    (knob, message), = capacity_problems(replace(whole, system=replace(whole.system, queries=4)))
    assert (knob, message.split(":")[0]) == (
        "system.queries", "system.queries = 4 is too much for ecp5-85f")
    assert message.endswith("lower system.queries, or leave the system out by system = false")


@pytest.mark.parametrize(("name", "bits"), [
    # Words of lanes x digit bits, in whole blocks: 9 x 36 >= 64 x 5; 5 x 16 >= 16 x 5; and
    # 1,024 words of 200 bits are two deep and three wide.
    ("ulx3s", 9 * 18_432), ("icebreaker", 5 * 4_096), ("axi128", 6 * 36_864)])
def test_tile_memory_is_counted_in_whole_blocks(name: str, bits: int) -> None:
    assert estimate(replace(PRESETS[name], units=None)).memory_bits == bits


def test_a_device_without_limits_refuses_nothing() -> None:
    config = replace(PRESETS["tiny"], system=None, array=replace(
        PRESETS["tiny"].array, rows=16, lanes=4096, max_k=1 << 20, acc_bits=48))
    assert capacity_problems(config) == []


def test_every_limit_that_is_passed_is_named() -> None:
    config = replace(changed("icebreaker", rows=64, max_k=1 << 19, acc_bits=32))
    assert [knob for knob, _ in capacity_problems(config)] == ["array.rows", "array.max_k"]
    (_, luts), (_, memory) = capacity_problems(config)
    assert "LUT4 are needed, it has 5,280; lower array.rows" in luts
    assert "it has 1,171,456; lower array.max_k" in memory


def test_a_batch_takes_memory_and_luts_and_is_what_to_lower() -> None:
    one, four = changed("icebreaker", max_k=2048), changed("icebreaker", max_k=2048, batch=4)
    assert estimate(four).memory_bits == 4 * estimate(one).memory_bits
    assert estimate(four).luts > estimate(one).luts
    small = dataclasses.replace(one.target, memory_bits=estimate(four).memory_bits - 1)
    assert capacity_problems(replace(one, target=small)) == []
    (knob, message), = capacity_problems(replace(four, target=small))
    assert (knob, message.split(":")[0]) == (
        "array.batch", "array.batch = 4 is too much for up5k")
    assert message.endswith("lower array.batch")


def test_the_limit_itself_still_fits() -> None:
    alone = replace(PRESETS["ulx3s"], system=None)
    need = estimate(alone)
    assert need.luts > estimate(replace(alone, units=None)).luts
    exact = dataclasses.replace(TARGETS["ecp5-85f"], luts=need.luts, memory_bits=need.memory_bits)
    assert capacity_problems(replace(alone, target=exact)) == []
    short = dataclasses.replace(exact, luts=need.luts - 1, memory_bits=need.memory_bits - 1)
    assert len(capacity_problems(replace(alone, target=short))) == 2


def test_cache_and_image_count_too() -> None:
    config = PRESETS["ulx3s"]
    assert config.system is not None
    most = config.target.memory_bits - estimate(config).memory_bits
    cache, beat = config.attention.cache.memory_bits, config.decoder.port.beat_bits
    deepest = (most - cache) // beat

    def problems(**system: object) -> list[tuple[str, str]]:
        return capacity_problems(replace(config, system=dataclasses.replace(
            config.system, **system)))
    assert problems(depth=deepest) == []
    (knob, told), = problems(depth=deepest + 1)
    assert knob == "system.depth"
    assert f"{(deepest + 1) * beat:,} bits" in told
    assert f"lower it to {deepest:,}," in told
    assert problems(depth=deepest, secded=True)[0][0] == "system.depth"
    assert problems(depth=deepest + 1, memory="axi") == []
    (knob, told), = capacity_problems(replace(config, window=2048))
    large = replace(config, window=2048).attention.cache.memory_bits
    assert knob == "window"
    assert f"{large} bits" in told
    assert "or kv_bits" in told
