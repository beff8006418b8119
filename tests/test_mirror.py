# SPDX-License-Identifier: Apache-2.0
"""One component, one path: hw/P/x.py <=> golden_model/P/x.py <=> tests/hw/P/test_x.py."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTHING_TO_COMPUTE = {
    "attention/power_table.py",  # the golden softmax's own table
    "control/chunk.py",     # a part of the decoder; its test is of whole chunks
    "control/dispatch.py",  # joins units to instructions; the decoder's tests are its own
    "control/joins.py",     # a part of the decoder
    "delay.py",        # registers in a row
    "emit.py",         # writes Verilog
    "kv/layouts.py",   # payloads of streams
    "mac/carry_cells.py",  # sums that yosys proves equal to plain ones; test_emit.py
    "mac/core.py",     # an interface
    "mac/layouts.py",  # payloads of streams
    "memory/sram.py",  # keeps words
    "image/port.py",   # payloads of streams
}


def components(package: str) -> set[Path]:
    return {path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py")
            if path.name != "__init__.py"}


def test_every_component_has_a_golden_model() -> None:
    unmodelled = {str(path) for path in components("hw") - components("golden_model")}
    assert unmodelled <= NOTHING_TO_COMPUTE


def test_every_component_has_a_test() -> None:
    untested = {str(path) for path in components("hw")
                if not (ROOT / "tests" / "hw" / path.with_name(f"test_{path.name}")).is_file()}
    assert untested <= NOTHING_TO_COMPUTE


def test_every_test_has_its_component() -> None:
    tests = {path.relative_to(ROOT / "tests" / "hw") for path in
             (ROOT / "tests" / "hw").rglob("test_*.py")}
    stray = [str(path) for path in tests
             if path.with_name(path.name.removeprefix("test_")) not in components("hw")]
    assert not stray


def test_exemptions_are_in_use() -> None:
    assert {str(path) for path in components("hw")} >= NOTHING_TO_COMPUTE
