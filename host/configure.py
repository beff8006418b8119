# SPDX-License-Identifier: Apache-2.0
"""Resolve a configuration: a preset or a TOML file, then overrides, then every check at once.

``docs/configuration.md`` describes the file.  Nothing is built from a configuration that
:func:`resolve` refuses; its :class:`~host.errors.UserError` lists every problem, one a line.
"""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.area import capacity_problems
from golden_model.presets import preset, suggestion, target
from host.errors import UserError

__all__ = ["DEFAULT_PRESET", "Problem", "apply_override", "read_toml", "resolve"]

DEFAULT_PRESET = "tiny"
MAX_FILE_BYTES = 1 << 20

Tree = dict[str, Any]

EXPECTED = {
    "int_type": "an integer", "int_from_float": "an integer", "int_parsing": "an integer",
    "float_type": "a number", "finite_number": "a finite number", "string_type": "a string",
    "bool_type": "true or false", "dataclass_type": "a table", "tuple_type": "an array",
}
"""What a value should have been, by pydantic's name for the error."""


class Problem(NamedTuple):
    """One thing wrong with a configuration."""

    path: str
    """Dotted path of the value, such as ``array.rows``."""
    message: str
    """Sentence that starts with the path and names value and limit."""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 3] + "..."


def _shown(value: object) -> str:
    """Value as the file would have it, cut to a line's length."""
    try:
        return _cut(json.dumps(value), 60)
    except (TypeError, ValueError):
        return _cut(str(value), 60)


def _fields(tree: object, path: Sequence[str | int]) -> list[str]:
    """Return the names that the dataclass at `path` of the configuration knows."""
    for key in path:
        tree = getattr(tree, str(key))
    if not dataclasses.is_dataclass(tree):
        return []
    return [f.name for f in dataclasses.fields(tree)]


def _problem(error: Mapping[str, Any], base: AcceleratorConfig) -> Problem:
    """Turn one pydantic error into a sentence with the whole path."""
    loc, kind = error["loc"], error["type"]
    path = ".".join(map(str, loc)) or "configuration"
    if kind == "value_error":  # from __post_init__: the message starts with the field's name
        message = _cut(str(error["ctx"]["error"]), 300)
        table = "".join(f"{key}." for key in loc)
        return Problem(table + message.split()[0], table + message)
    if kind == "unexpected_keyword_argument":
        known = _fields(base, loc[:-1])
        listed = f" (there are: {', '.join(known)})" if known else ""
        return Problem(path, f"{path} is not a known key"
                             f"{suggestion(str(loc[-1]), known)}{listed}")
    if kind == "missing":
        return Problem(path, f"{path} is missing")
    expected = EXPECTED.get(kind, error["msg"][0].lower() + error["msg"][1:])
    return Problem(path, f"{path} must be {expected}, not {_shown(error['input'])}")


def _repair(tree: Tree, base: Tree, path: str) -> bool:
    """Put the base's value at `path`, or remove what the base has not; false if nothing changed."""
    *parents, last = path.split(".")
    for key in parents:
        if not isinstance(tree.get(key), dict) or not isinstance(base.get(key), dict):
            last = key
            break
        tree, base = tree[key], base[key]
    if last in base:
        changed = last not in tree or tree[last] != base[last]
        tree[last] = base[last]
        return changed
    return tree.pop(last, None) is not None


def _repair_all(tree: Tree, base: Tree, paths: Sequence[str]) -> bool:
    """Repair every path; false if none of them changed anything."""
    return sum(_repair(tree, base, path) for path in paths) > 0


def _validate(changed: Tree, base: AcceleratorConfig) -> tuple[AcceleratorConfig, list[Problem]]:
    """Check types and limits.

    A class stops at its first broken rule, so each fault that is found is replaced by the base's
    value and the rest checked again: every fault is reported, whatever hides behind which.
    """
    adapter = TypeAdapter(AcceleratorConfig)
    sound: Tree = json.loads(json.dumps(dataclasses.asdict(base)))
    tree: Tree = json.loads(json.dumps(changed, default=str))
    problems: dict[str, Problem] = {}
    while True:
        try:
            config = adapter.validate_json(json.dumps(tree), strict=True, extra="forbid")
            return config, list(problems.values())
        except ValidationError as error:
            found = [_problem(detail, base) for detail in error.errors()]
        for one in found:
            problems.setdefault(one.path, one)
        # Where the field that is blamed is the base's own, another of its table is at fault.
        tables = [one.path.rpartition(".")[0] for one in found]
        if not _repair_all(tree, sound, [p.path for p in found]) and not _repair_all(
                tree, sound, tables):
            tree = sound


def read_toml(path: Path) -> Tree:
    """Read a configuration file; whatever is wrong with it is a :class:`UserError`."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such configuration file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: more than {MAX_FILE_BYTES} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
    except ValueError as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def apply_override(tree: Tree, text: str) -> None:
    """Set one ``key.path=value``; the value is TOML, or a plain string if it is not.

    Raises
    ------
    UserError
        There is no ``=``, a part of the path is empty, or the path runs through a plain value.
    """
    path, equals, raw = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise UserError(f"override {text!r} is not of the form key.path=value, "
                        "such as array.rows=32")
    try:
        value = tomllib.loads(f"value = {raw.strip()}")["value"]
    except (ValueError, RecursionError):
        value = raw.strip()
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise UserError(f"override {text!r}: {key!r} is a plain value, not a table")
    tree[keys[-1]] = value


def _merge(base: Tree, over: Tree) -> Tree:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(
            value, dict) else value
    return merged


def _named_preset(name: object) -> AcceleratorConfig:
    if not isinstance(name, str):
        raise UserError(f"extends must be the name of a preset, not {_shown(name)}")
    try:
        return preset(name)
    except ValueError as error:
        raise UserError(str(error)) from error


def resolve(preset_name: str | None = None, path: Path | None = None,
            overrides: Sequence[str] = ()) -> AcceleratorConfig:
    """Resolve a configuration and check it whole.

    Parameters
    ----------
    preset_name
        Preset to start from; ``tiny`` if there is no file either.
    path
        TOML file; its ``extends`` names the preset that it changes.
    overrides
        ``key.path=value``, applied in order.

    Raises
    ------
    UserError
        Every problem on a line of its own: types, limits, unknown keys, and more LUTs or memory
        than the target holds.
    """
    if preset_name is not None and path is not None:
        raise UserError("give either a preset or a file; a file starts from the preset that its "
                        "'extends' names")
    changes: Tree = read_toml(path) if path else {}
    extends = changes.pop("extends", preset_name or DEFAULT_PRESET)
    for text in overrides:
        apply_override(changes, text)
    for part in ("units", "system"):
        if changes.get(part) is False:
            changes[part] = None
    if "units" in changes and changes["units"] is None:
        changes.setdefault("system", None)   # which needs them
    base = _named_preset(extends)
    problems: list[Problem] = []
    if isinstance(changes.get("target"), str):
        try:
            changes["target"] = dataclasses.asdict(target(changes["target"]))
        except ValueError as error:
            problems.append(Problem("target", f"target: {error}"))
            del changes["target"]
    if changes and path and "name" not in changes:
        changes["name"] = path.stem
    config, found = _validate(_merge(dataclasses.asdict(base), changes), base)
    problems += found
    if not problems:
        problems = [Problem(name, message) for name, message in capacity_problems(config)]
    if problems:
        raise UserError("\n".join(problem.message for problem in problems))
    return config
