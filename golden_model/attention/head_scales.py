# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.head_scales`: small floats of heads, cycle by cycle."""

from typing import NamedTuple

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.quick_float_config import QuickFloatConfig
from golden_model.softmax_config import SoftmaxConfig

__all__ = ["HeadScalesCycles", "HeadScalesStep", "code_ratio", "head_scale", "score_unit"]

PROGRAM = ("mul", "from_int", "div", "div", "from_int", "div", "mul")
RATIO_STEP = 2


def score_unit(q_scale: Floats, score_scale: Floats) -> Floats:
    """Real unit of a score at a row scale of one, in log2 units with 8 fraction bits."""
    return smallfloat.mul(q_scale, score_scale)


def code_ratio(peak: Ints, weight_bits: int) -> Floats:
    """Codes to a unit of value weight, given the largest one."""
    return smallfloat.div(smallfloat.constant((1 << weight_bits) - 1), smallfloat.from_int(peak))


def head_scale(peak: Ints, total: Ints, exponent: int, weight_bits: int) -> Floats:
    """Scale of a head's sums, given its largest value weight, its total and the exponent."""
    levels = smallfloat.constant((1 << weight_bits) - 1)
    power = smallfloat.shift(smallfloat.constant(1), 8 + exponent)
    return smallfloat.mul(smallfloat.div(smallfloat.from_int(peak), levels),
                          smallfloat.div(power, smallfloat.from_int(total)))


class HeadScalesStep(NamedTuple):
    """What is valid, or taken, in one cycle."""

    query: bool
    """``i_scale.ready``."""
    unit: bool
    """``o_unit.valid``."""
    total: bool
    """The totals are taken."""
    ratio: bool
    """``o_ratio.valid``."""
    scale: bool
    """``o_scale.valid``."""


class HeadScalesCycles:
    """Handshakes of the scalar part, every head with a unit to itself."""

    def __init__(self, config: SoftmaxConfig,
                 unit: QuickFloatConfig | SmallFloatUnitConfig) -> None:
        self.config, self.unit = config, unit
        self.count = self.waiting = 0
        self.step_number: int | None = None
        self.back = 0
        """The step that goes on behind a unit that was made in between."""
        self.left = 0
        self.unit_waits = self.unit_valid = self.ratio_waits = self.ratio_valid = False

    @property
    def takes_total(self) -> bool:
        """Whether totals are taken in this cycle, by the last step's responses."""
        return self.step_number == len(PROGRAM) - 1 and not self.left

    def step(self, query: bool, unit_ready: bool, total: bool, ratio_ready: bool,
             scale_ready: bool) -> HeadScalesStep:
        """Go through one cycle, given what is offered and taken."""
        heads = self.config.queries
        full = self.count == heads
        unit_valid, ratio_valid = self.unit_valid, self.ratio_valid
        unit_waits, ratio_waits = self.unit_waits, self.ratio_waits
        waiting, finished = self.waiting, None
        if ratio_ready or not ratio_valid:
            self.ratio_valid, self.ratio_waits = ratio_waits, False
        if unit_ready or not unit_valid:
            self.unit_valid, self.unit_waits = unit_waits, False
        if query and not full:
            self.count += 1
        if waiting and scale_ready:
            self.waiting -= 1
        if self.step_number is None:
            if total and not waiting and not ratio_waits:
                self._start(1)
            elif full and not unit_waits:
                self._start(0)
        elif self.left:
            self.left -= 1
        else:
            finished = self.step_number
            self._finish(finished, full and not unit_waits)
        return HeadScalesStep(not full, unit_valid, finished == len(PROGRAM) - 1, ratio_valid,
                              waiting > 0)

    def _start(self, step: int) -> None:
        """Begin a step in the next cycle."""
        self.step_number, self.left = step, self.unit.latency[PROGRAM[step]]

    def _finish(self, step: int, unit: bool) -> None:
        """End a step with its responses; begin the next, or a unit if there are its scales."""
        if step == RATIO_STEP:
            self.ratio_waits = True
        if step == 0:
            self.unit_waits, self.count, self.step_number = True, 0, None
            if self.back:
                self._start(self.back)
            self.back = 0
        elif step == len(PROGRAM) - 1:
            self.waiting, self.step_number = self.config.queries, None
        elif unit and step >= RATIO_STEP:
            self.back = step + 1
            self._start(0)
        else:
            self._start(step + 1)
