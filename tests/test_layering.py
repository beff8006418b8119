# SPDX-License-Identifier: Apache-2.0
"""Who may import whom; the golden model must stay an independent oracle."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("golden_model", "hw", "sim", "boards", "host", "tests")
PARAMETERS = {"golden_model.presets", "golden_model.formats",
              *(f"golden_model.{path.stem}" for path in (ROOT / "golden_model").glob("*config.py"))}
MAY_IMPORT = {
    "golden_model": set(),
    "hw": PARAMETERS,  # parameters and constants, never the functions
    "sim": {"golden_model", "hw"},
    "boards": {"golden_model", "hw"},
    "host": {"golden_model", "hw", "sim", "boards"},
}
LIBRARIES = {"golden_model": {"numpy"}, "hw": {"amaranth"}, "boards": {"amaranth",
                                                                       "amaranth_boards"}}
"""What may be imported from outside, where that is limited."""


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of every import, ``import m`` with an empty name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.relative_to(ROOT)} has a relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def allowed(package: str, module: str, name: str) -> bool:
    top = module.split(".")[0]
    if top == package or top in sys.stdlib_module_names:
        return True
    if top not in OURS:
        return package not in LIBRARIES or top in LIBRARIES[package]
    permitted = MAY_IMPORT[package]
    return top in permitted or module in permitted or f"{module}.{name}" in permitted


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_from_the_layers_below(package: str) -> None:
    wrong = [f"{path.relative_to(ROOT)} imports {module} {name}".strip()
             for path in sorted((ROOT / package).rglob("*.py"))
             for module, name in imports(path) if not allowed(package, module, name)]
    assert not wrong, "\n".join(wrong)


def test_hardware_takes_only_constants_from_the_formats() -> None:
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path in sorted((ROOT / "hw").rglob("*.py"))
             for module, name in imports(path)
             if (module, name) == ("golden_model", "formats")
             or (module == "golden_model.formats" and not name.isupper())]
    assert not wrong, wrong


@pytest.mark.parametrize(("package", "module", "name"), [
    ("golden_model", "hw.mac", ""), ("golden_model", "amaranth.hdl", "Signal"),
    ("hw", "golden_model.mac.ternary_dot", "dot"), ("hw", "golden_model", "linear"),
    ("sim", "host.verilog", "generate"), ("host", "tests.conftest", "Run"),
])
def test_the_rule_refuses_a_wrong_import(package: str, module: str, name: str) -> None:
    assert not allowed(package, module, name)
