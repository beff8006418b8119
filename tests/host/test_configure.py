# SPDX-License-Identifier: Apache-2.0
"""Configurations from presets, files and overrides, and every way to get one wrong."""

import contextlib
import random
from pathlib import Path

import pytest

from golden_model.config import config_hash
from golden_model.presets import PRESETS
from host.configure import resolve
from host.errors import UserError


def refused(*overrides: str, preset: str = "ulx3s", path: Path | None = None) -> list[str]:
    """Lines of the message that refuses a configuration."""
    with pytest.raises(UserError) as caught:
        resolve(None if path else preset, path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_to_itself(name: str) -> None:
    assert resolve(name) == PRESETS[name]


def test_without_a_name_it_is_tiny() -> None:
    assert resolve() == PRESETS["tiny"]


def test_overrides_apply_in_order_and_keep_the_rest() -> None:
    config = resolve("ulx3s", None, ["array.rows=2", "array.rows=4", "array.packing=2bit",
                                     "numerics.topk_keep=[1, 4]", "clock_mhz=25",
                                     "system=false"])
    assert (config.array.rows, config.array.packing) == (4, "2bit")
    assert (config.numerics.topk_keep, config.clock_mhz) == ((1, 4), 25.0)
    assert config.array.lanes == PRESETS["ulx3s"].array.lanes
    assert config_hash(config) != config_hash(PRESETS["ulx3s"])


def test_the_hash_depends_on_values_and_not_on_spelling() -> None:
    spelled = resolve("ulx3s", None, ["array.rows=2", "clock_mhz=50"])
    assert config_hash(spelled) == config_hash(PRESETS["ulx3s"])
    assert config_hash(PRESETS["tiny"]) == config_hash(resolve("tiny"))


def test_units_may_be_left_out_or_put_in() -> None:
    assert resolve("ulx3s", None, ["units=false"]).units is None
    assert resolve("ulx3s", None, ["units=false"]).system is None
    assert resolve("ulx3s", None, ["system=false", "units.lanes=4"]).units.lanes == 4
    assert resolve("icebreaker", None, ["target=generic", "units.lanes=2"]).units.lanes == 2


LEFT_OUT = "; or leave the units out by units = false"


@pytest.mark.parametrize(("override", "message"), [
    ("array.rows=3", f"array.rows must be one of 1, 2, 4, 8, 16 beside units, not 3{LEFT_OUT}"),
    ("array.lanes=66", f"array.lanes must be a multiple of units.lanes (4), not 66{LEFT_OUT}"),
    ("units.up_width=6", f"units.up_width must be a multiple of units.lanes (4), not 6{LEFT_OUT}"),
    ("units.max_ffn=5000", f"units.max_ffn must be at most array.max_m (4096), not 5000{LEFT_OUT}"),
    ("array.batch=5", "array.batch must be at most 4, not 5"),
    ("units.lanes=3", "units.lanes must be one of 1, 2, 4, 8, 16, not 3"),
    ("units.down_width=2000", "units cannot be built: width must be at most 1024, not 2000"),
])
def test_units_that_do_not_go_with_the_array_are_refused(override: str, message: str) -> None:
    assert refused(override) == [message]


def test_a_batch_needs_the_whole_accelerator() -> None:
    assert resolve("tiny", None, ["array.batch=4"]).attention.cache.batch == 4
    assert refused("array.batch=2", "system=false") == [(
        "array.batch must be 1 beside units without a system, which take one token at a time, "
        f"not 2{LEFT_OUT}")]


def test_a_file_extends_a_preset_and_takes_overrides(tmp_path: Path) -> None:
    path = tmp_path / "größer 2.toml"
    path.write_text('extends = "ulx3s"\ntarget = "generic"\nsystem = false\n'
                    '[array]\nrows = 16\nlanes = 32\n', encoding="utf-8")
    config = resolve(None, path, ["array.lanes=48"])
    assert (config.name, config.target.name) == ("größer 2", "generic")
    assert (config.array.rows, config.array.lanes, config.array.max_k) == (16, 48, 1024)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("""
extends = "ulx3s"
clock_mhz = "fast"
wndow = 3
[array]
rows = 0
lanes = 8.5
digit_bits = true
packing = "3bit"
pakcing = "2bit"
[numerics]
kv_bits = 5
topk_keep = [3, 2]
""", encoding="utf-8")
    lines = refused(path=path)
    assert sorted(lines) == sorted([
        'clock_mhz must be a number, not "fast"',
        ("wndow is not a known key; did you mean 'window'? (there are: name, description, target, "
         "clock_mhz, array, units, system, numerics, window)"),
        "array.rows must be an integer of at least 1, not 0",
        "array.lanes must be an integer, not 8.5",
        "array.digit_bits must be an integer, not true",
        "array.packing must be one of base3, 2bit, not '3bit'",
        ("array.pakcing is not a known key; did you mean 'packing'? (there are: rows, lanes, "
         "digit_bits, levels_per_stage, packing, max_k, max_m, acc_bits, batch)"),
        "numerics.kv_bits must be one of 3, 4, 8, 16, not 5",
        "numerics.topk_keep must be a share between 0 and 1, not 3/2",
    ])


@pytest.mark.parametrize(("override", "path"), [
    ("array.lanes=0", "array.lanes"), ("array.lanes=-1", "array.lanes"),
    ("array.lanes=1000000000", "array.lanes"), ("array.rows=1" + "0" * 400, "array.rows"),
    ('array.rows="eight"', "array.rows"), ("array.rows=eight", "array.rows"),
    ("array.rows=8.5", "array.rows"), ("array.rows=true", "array.rows"),
    ("array.rows=1979-05-27", "array.rows"), ("array.rows=[8]", "array.rows"),
    ("array.rows.x=8", "array.rows"), ("array.rows=", "array.rows"),
    ("array.rows=4,5", "array.rows"),
    ("array=4", "array"), ("clock_mhz=nan", "clock_mhz"), ("clock_mhz=inf", "clock_mhz"),
    ("clock_mhz=50,0", "clock_mhz"), ("numerics.topk_keep=[1, 0]", "numerics.topk_keep"),
    ("numerics.topk_keep=[1]", "numerics.topk_keep"), ("array.acc_bits=12", "array.acc_bits"),
    ("array.max_k=1000000", "array.acc_bits"), ("target=icebraker", "target"),
    ("target.family=asic", "target.family"), ("target.luts=-1", "target.luts"),
    ("window=1", "window"), ("name=[]", "name"), ('"a.b"=1', '"a'), ("surprise=1", "surprise"),
])
def test_a_bad_value_is_one_sentence_with_its_path(override: str, path: str) -> None:
    lines = refused(override)
    assert len([line for line in lines if line.startswith(path)]) == 1
    assert max(map(len, lines)) < 400


def test_a_fault_between_two_fields_ends_the_search() -> None:
    assert refused("array.digit_bits=4", "numerics.act_format=fp4") == [
        "array.digit_bits must be at least 5 for FP4, not 4"]


def test_what_the_target_cannot_hold_names_the_knob() -> None:
    rows = refused("array.rows=500", "units=false")[0]
    assert rows.startswith("array.rows = 500 is too much for ecp5-85f")
    assert rows.endswith("lower array.rows")
    assert refused("array.rows=1", "array.lanes=4096", "system=false")[0].endswith(
        "lower array.lanes, or leave the units out by units = false")
    [line] = refused("array.rows=1", "array.lanes=2048", "array.digit_bits=8",
                     "array.packing=2bit", "target.luts=0", preset="icebreaker")
    assert line.startswith("array.lanes = 2048 is too much for up5k: about 4,194,304 bits")
    [line] = refused("array.max_k=100000", "array.acc_bits=30", preset="icebreaker")
    assert line.startswith("array.max_k = 100000 is too much for up5k")
    config = resolve("ulx3s", None, ["array.rows=500", "target=generic", "units=false"])
    assert config.array.rows == 500


@pytest.mark.parametrize(("override", "message"), [
    ("array.rows", "is not of the form key.path=value"), ("=4", "is not of the form"),
    ("array..rows=4", "is not of the form"), ("", "is not of the form"),
])
def test_an_override_that_is_none_is_refused(override: str, message: str) -> None:
    assert message in refused(override)[0]


def test_a_path_through_a_plain_value_is_refused() -> None:
    assert "is a plain value" in refused("window=4", "window.x=4")[0]


def test_preset_and_file_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="either a preset or a file"):
        resolve("tiny", tmp_path / "x.toml")


@pytest.mark.parametrize(("content", "message"), [
    (b"rows = ", "not TOML"), (b"\xff\xfe", "not UTF-8"), (b"extends = 4", "extends must be"),
    (b'extends = "tinny"', "did you mean 'tiny'"), (b"a = 1\na = 2", "not TOML"),
    (b"x = " + b"[" * 5000, "bad.toml"), (b"#" * (1 << 20) + b"#", "more than"),
    (b"x = " + b"9" * 5000, "bad.toml"), (b"\x00", "not TOML"),
])
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert message in refused(path=path)[0]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "no such configuration file" in refused(path=tmp_path / "none.toml")[0]
    assert "no such configuration file" in refused(path=tmp_path)[0]
    assert refused(path=Path("a\0b"))


def test_random_trees_end_in_a_configuration_or_a_sentence() -> None:
    """Whatever is put where, the search for problems ends, and ends in a typed error."""
    generator = random.Random(20)
    keys = ["array", "numerics", "target", "rows", "lanes", "acc_bits", "max_k", "topk_keep", "x",
            "window", "name", "digit_bits", "act_format"]
    values = ["0", "-1", "7", "5", "1e400", "nan", '""', "[]", "{}", "[1,2]", "true", "fp4",
              "{rows=1}", "99999999999999999999", '"\\u0000"', "1979-05-27", "[[[]]]", "ecp5-85f"]
    for _ in range(300):
        overrides = [".".join(generator.sample(keys, generator.choice([1, 2, 2, 3])))
                     + "=" + generator.choice(values) for _ in range(generator.randint(1, 5))]
        with contextlib.suppress(UserError):
            resolve("ulx3s", None, overrides)
