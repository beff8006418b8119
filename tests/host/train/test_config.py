# SPDX-License-Identifier: Apache-2.0
"""The training configuration: the shipped one loads, wrong ones are named."""

from pathlib import Path

import pytest

from host.train.config import ConfigError, Recipe, Stage, load_config
from host.train.scheme import Scheme

SHIPPED = Path(__file__).parents[3] / "models/demo/train.toml"


def recipe(**changes):
    stages = tuple(Stage(until=u, weight_decay=0.0, scheme=Scheme()) for u in (0.5, 1.0))
    return Recipe(**({"steps": 10, "batch": 1, "peak_lr": 1.0, "dropout": 0.0, "seed": 1,
                      "warmup": 2, "stages": stages} | changes))


def test_shipped_configuration_gives_every_run_one_budget():
    config = load_config(SHIPPED)
    assert {"fp", "b158", "a48", "a48_fp4"} <= config.evaluations.keys()
    assert {(r.steps, r.batch) for r in config.recipes.values()} == {(15000, 64)}
    assert {r.last for name, r in config.recipes.items() if name.startswith("trunk")} == {12000}
    assert {r.last for name, r in config.recipes.items() if r.trunk} == {15000}
    assert len(config.held_out) == 10
    assert not set(config.held_out) & set(config.validation)
    assert {run for run, _ in config.evaluations.values()} <= config.recipes.keys()


@pytest.mark.parametrize("trunk", ["trunc", "fp", "trunk_2", "b158"])
def test_run_whose_trunk_is_not_listed_ahead_of_it_is_refused(tmp_path, trunk):
    path = tmp_path / "train.toml"
    path.write_text(SHIPPED.read_text().replace('trunk = "trunk"', f'trunk = "{trunk}"', 1))
    with pytest.raises(ConfigError, match=f"'b158' branches off '{trunk}', which is no run"):
        load_config(path)


def test_run_of_another_seed_than_its_trunk_is_refused(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(SHIPPED.read_text().replace('trunk = "trunk"', 'seed = 7\ntrunk = "trunk"', 1))
    with pytest.raises(ConfigError, match="'b158' has seed 7, its trunk 'trunk' has 1"):
        load_config(path)


@pytest.mark.parametrize("ends", [0, -0.5, 1.5])
def test_trunk_ends_within_its_run(ends):
    with pytest.raises(ConfigError, match="ends must lie in"):
        recipe(ends=ends)
    assert recipe(ends=0.5).last == 5


def test_schedule_rises_then_falls_to_nearly_nothing_across_stages():
    r = recipe()
    assert [r.stage(step) for step in range(10)] == [0] * 5 + [1] * 5
    assert [r.lr(step) for step in (0, 1, 2, 6, 9)] == [0.5, 1.0, 1.0, 0.5, 0.125]


def test_stages_must_end_at_the_end():
    with pytest.raises(ConfigError, match="must rise from above 0 to 1"):
        recipe(stages=(Stage(until=0.5, weight_decay=0.0, scheme=Scheme()),))


def test_unknown_switch_is_named(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(SHIPPED.read_text().replace("keep = 0.5", "kept = 0.5"))
    with pytest.raises(ConfigError, match="'kept'"):
        load_config(path)


@pytest.mark.parametrize(("text", "message"), [
    ("", "'schemes' is missing"), ("x = ", "Invalid value"),
])
def test_unusable_file_is_refused(tmp_path, text, message):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_digest_follows_what_decides_the_outcome():
    config = load_config(SHIPPED)
    shorter = load_config(SHIPPED, {"steps": 5})
    assert config.digest("a48") != shorter.digest("a48")
    assert config.digest("a48") != config.digest("b158")
