# SPDX-License-Identifier: Apache-2.0
"""The named configurations and devices."""

from dataclasses import replace

import pytest

from golden_model.area import capacity_problems
from golden_model.presets import PRESETS, TARGETS, preset, suggestion, target


def test_the_promised_names_are_there() -> None:
    assert set(PRESETS) == {"tiny", "ulx3s", "icebreaker", "axi128"}
    assert all(name == config.name for name, config in PRESETS.items())
    assert all(name == device.name for name, device in TARGETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_its_target(name: str) -> None:
    assert capacity_problems(PRESETS[name]) == []
    assert PRESETS[name].target in TARGETS.values()


def test_axi128_takes_exactly_one_bus_beat_a_cycle() -> None:
    array = preset("axi128").array
    assert array.unpacker.packed_bits == 128
    assert array.macs_per_cycle == 80
    assert array.max_k >= 6_912
    assert array.max_m >= 128_256  # rows of the 2B4T LM head


def test_devices_hold_what_their_data_sheets_say() -> None:
    assert (target("ecp5-85f").luts, target("ecp5-85f").memory_bits) == (83_640, 3_833_856)
    assert (target("up5k").luts, target("up5k").memory_bits) == (5_280, 1_171_456)
    assert (target("xck26").luts, target("xck26").memory_bits) == (117_120, 24_182_784)


def test_attention_has_the_codes_and_multipliers_that_are_asked_for() -> None:
    config = preset("ulx3s")
    assert config.system is not None
    symmetric = replace(config, numerics=replace(config.numerics, kv_code="symmetric"),
                        system=replace(config.system, rows_per_stage=9))
    assert (config.attention.attention.kv_code, symmetric.attention.attention.kv_code) == (
        "midrise", "symmetric")
    assert symmetric.attention.quantiser.rows_per_stage == 9
    minmax = replace(config, numerics=replace(config.numerics, kv_code="minmax"))
    assert minmax.attention.quantiser.minmax
    assert not symmetric.attention.quantiser.minmax
    with pytest.raises(ValueError, match="rows_per_stage must be"):
        replace(config.system, rows_per_stage=0)


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PRESETS["tiny"] = PRESETS["ulx3s"]


@pytest.mark.parametrize(("name", "meant"), [("ulxs3", "ulx3s"), ("Tiny", "tiny"),
                                             ("icebraker", "icebreaker"), ("axi-128", "axi128")])
def test_a_misspelt_preset_is_guessed(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        preset(name)


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert suggestion("zzzzzz", PRESETS) == ""
    with pytest.raises(ValueError, match=r"unknown target 'q' .there are: ecp5-85f"):
        target("q")
