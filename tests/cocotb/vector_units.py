# SPDX-License-Identifier: Apache-2.0
"""The vector and FFN units of one in and one out, small, in one module; corners of each."""

from golden_model.quant_config import ScaleLanesConfig, SmallFloatUnitConfig
from golden_model.vector_config import Relu2GluConfig, ResidualAddConfig, RopeConfig
from hw.ffn.gate_peak import GatePeak
from hw.ffn.relu2_glu import Relu2Glu
from hw.quant.scale_lanes import ScaleLanes
from hw.quant.small_float_unit import SmallFloatUnit
from hw.vector.residual_add import ResidualAdd
from hw.vector.rope import Rope
from sim.coverage import Coverage
from sim.side_by_side import SideBySide

__all__ = ["COVERAGE", "GATES", "GLU", "ROPE", "SCALE", "SUM", "UNIT", "vector_units"]

SCALE = ScaleLanesConfig(lanes=2, in_bits=14, out_bits=8)
SUM = ResidualAddConfig(lanes=1, in_bits=18)
ROPE = RopeConfig()
GLU = Relu2GluConfig(gate_bits=14, up_bits=12)
GATES = Relu2GluConfig(lanes=3, gate_bits=14, up_bits=12)
UNIT = SmallFloatUnitConfig()

_OUTCOMES = ["within", "zero", "overflow", "underflow", "by zero", "zero by zero"]
_NO_DIVISION = "only a division has a divisor"
_ABOVE_ZERO = "operands are never negative"


def vector_units():
    """Build all of them."""
    return SideBySide(
        scale_lanes=ScaleLanes(SCALE), small_float_unit=SmallFloatUnit(UNIT),
        residual_add=ResidualAdd(SUM), rope=Rope(ROPE), relu2_glu=Relu2Glu(GLU),
        gate_peak=GatePeak(GATES))


COVERAGE = {
    "scale_lanes": lambda: Coverage("scale_lanes", {
        "result": ["low", "high", "within"],
        "rounding": ["exact", "tie to the even below", "tie to the even above", "below", "above"],
        "scale": ["zero", "smallest", "largest"], "shift": ["zero", "lowest", "highest"]}),
    "residual_add": lambda: Coverage(
        "residual_add", {"addend": ["low", "within", "high"], "sum": ["low", "within", "high"]},
        {"both": ("addend", "sum")},
        {"both": {("low", "high"): "the lowest addend leaves no sum above 0",
                  ("high", "low"): "the highest addend leaves no sum below -1"}}),
    "rope": lambda: Coverage("rope", {
        "a": ["low", "high", "within"], "b": ["low", "high", "within"],
        "rounding": ["exact", "tie to the even below", "tie to the even above", "below", "above"]}),
    "relu2_glu": lambda: Coverage(
        "relu2_glu", {
            "gate": ["lowest", "negative", "zero", "one", "highest"], "up": ["lowest", "highest"],
            "shift": ["zero", "between", "largest"],
            "vector": ["empty", "one gate", "every gate"],
            "rounding": ["exact", "tie to the even below", "tie to the even above", "below",
                         "above"]}),
    "gate_peak": lambda: Coverage(
        "gate_peak", {"gate": ["lowest", "negative", "zero", "one", "highest"],
                      "vector": ["empty", "one gate", "every gate"], "beats": ["one", "more"],
                      "shift": ["zero", "between", "largest"]},
        {"empty": ("vector", "shift")},
        {"empty": {("empty", "between"): "the bound on up has fewer bits than a word",
                   ("empty", "largest"): "the bound on up has fewer bits than a word",
                   }}),
    "small_float_unit": lambda: Coverage(
        "small_float_unit",
        {"operation": ["from_int", "mul", "div", "sqrt", "add"], "outcome": _OUTCOMES},
        {"both": ("operation", "outcome")},
        {"both": {
            **{(name, outcome): _NO_DIVISION for name in ("from_int", "mul", "sqrt", "add")
               for outcome in ("by zero", "zero by zero")},
            ("from_int", "overflow"): "63 bits are far below the largest exponent",
            ("from_int", "underflow"): "an integer is no fraction",
            ("sqrt", "overflow"): "a root's exponent is half of its operand's",
            ("sqrt", "underflow"): "a root's exponent is half of its operand's",
            ("add", "underflow"): _ABOVE_ZERO + ", so a sum is no less than either"}}),
}
"""Corners of each unit that its bench must meet."""
