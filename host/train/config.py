# SPDX-License-Identifier: Apache-2.0
"""The training configuration, read from TOML (``models/demo/train.toml``)."""

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_model.config import ModelShape
from host.train.scheme import Scheme

__all__ = ["ConfigError", "Recipe", "Stage", "TrainConfig", "load_config"]


class ConfigError(ValueError):
    """A training configuration that cannot be used; one sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run: up to which share of its steps, with which weight decay and scheme."""

    until: float
    weight_decay: float
    scheme: Scheme
    noise_weight: float = 0.0
    """Weight, in the loss, of :func:`host.train.quantize.logit_noise`."""
    noise_bits: int = 3
    """Bits of K that it is of."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run.  The learning rate warms up, then falls linearly to 0, stages notwithstanding.

    ``ends`` below 1 makes it a trunk, which stops at that share of its steps.  ``trunk`` names one
    that this run goes on from, with its optimiser, as if it had been there from the start.
    """

    steps: int
    batch: int
    peak_lr: float
    dropout: float
    seed: int
    stages: tuple[Stage, ...]
    warmup: int = 200
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    evaluate_every: int = 500
    ends: float = 1.0
    trunk: str | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "warmup", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(set(ends)) or ends[0] <= 0 or ends[-1] != 1:
            raise ConfigError(f"the stages' `until` must rise from above 0 to 1, not {ends}")

        if not 0 < self.ends <= 1:
            raise ConfigError(f"ends must lie in (0, 1], not {self.ends}")

    @property
    def last(self) -> int:
        """Steps after which the run is over."""
        return round(self.ends * self.steps)

    def stage(self, step: int) -> int:
        """Index of the stage that `step` (from 0) belongs to."""
        return next(i for i, stage in enumerate(self.stages)
                    if step < round(stage.until * self.steps) or stage.until == 1)

    def lr(self, step: int) -> float:
        """Learning rate of `step`, from 0."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / max(1, self.steps - self.warmup)
        return self.peak_lr * min(rise, fall, 1.0)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome besides the corpus and the device."""

    shape: ModelShape
    held_out: tuple[str, ...]
    validation: tuple[str, ...]
    recipes: dict[str, Recipe]
    evaluations: dict[str, tuple[str, Scheme]]
    """Row of the results to the run that it takes the weights of, and the scheme."""

    def digest(self, run: str) -> str:
        """First 16 hexadecimal digits of SHA-256 over what decides run `run`."""
        recipe = dataclasses.asdict(self.recipes[run])
        trunk = recipe.pop("trunk")
        parts = [dataclasses.asdict(self.shape), recipe, self.held_out, self.validation]
        if trunk is not None:
            parts.append(self.digest(trunk))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _scheme(table: dict[str, Any], where: str) -> Scheme:
    unknown = sorted(table.keys() - Scheme.names())
    if unknown:
        raise ConfigError(f"{where} has no switch {unknown[0]!r}; there are "
                          f"{', '.join(sorted(Scheme.names()))}")
    try:
        return Scheme(**table)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


SHARED = ("steps", "batch", "peak_lr", "warmup", "beta1", "beta2", "dropout", "seed")
"""What a run has in common with its trunk."""


def _check_trunks(recipes: dict[str, Recipe]) -> None:
    names = list(recipes)
    for i, (name, recipe) in enumerate(recipes.items()):
        if recipe.trunk is None:
            continue
        if recipe.trunk not in names[:i] or recipes[recipe.trunk].ends == 1:
            raise ConfigError(f"run {name!r} branches off {recipe.trunk!r}, which is no run listed "
                              "ahead of it that `ends` early")
        for field in SHARED:
            own, trunks = getattr(recipe, field), getattr(recipes[recipe.trunk], field)
            if own != trunks:
                raise ConfigError(f"run {name!r} has {field} {own}, its trunk {recipe.trunk!r} has "
                                  f"{trunks}: they must agree")


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a configuration.

    Parameters
    ----------
    path
        TOML file with the tables ``shape``, ``corpus``, ``training``, ``schemes``, ``runs`` and
        ``evaluations``.
    overrides
        Values for every run's recipe, over those of the file.

    Raises
    ------
    ConfigError
        The file is missing, no TOML, or holds something that cannot be used.
    """
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
        schemes = {name: _scheme(table, f"scheme {name!r}")
                   for name, table in raw["schemes"].items()}
        recipes = {}
        for name, table in raw["runs"].items():
            stages = tuple(
                Stage(**(s | {"scheme": schemes[s["scheme"]]})) for s in table["stages"])
            recipes[name] = Recipe(**(raw["training"] | table | {"stages": stages}
                                      | (overrides or {})))
        _check_trunks(recipes)
        return TrainConfig(
            shape=ModelShape(**raw["shape"]), held_out=tuple(raw["corpus"]["held_out"]),
            validation=tuple(raw["corpus"]["validation"]), recipes=recipes,
            evaluations={name: (row["run"], schemes[row["scheme"]])
                         for name, row in raw["evaluations"].items()})
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except KeyError as error:
        raise ConfigError(f"{path}: {error.args[0]!r} is missing") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
