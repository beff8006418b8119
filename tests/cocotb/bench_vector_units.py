# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the vector and FFN units: values, every cycle, and that corners were met."""

import json
import os
from fractions import Fraction
from typing import NamedTuple

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model import smallfloat
from golden_model.ffn.gate_peak import gate_shift
from golden_model.ffn.relu2_glu import relu2_glu
from golden_model.quant.scale_lanes import scale_lanes
from golden_model.quant.small_float_unit import compute
from golden_model.vector.residual_add import residual_add
from golden_model.vector.rope import turn_pairs
from hw.quant.small_float_unit import Operation
from sim.packing import pack
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.cocotb.vector_units import COVERAGE, GATES, GLU, ROPE, SCALE, SUM, UNIT, vector_units
from tests.hw.ffn import test_gate_peak, test_relu2_glu
from tests.hw.quant import test_scale_lanes, test_small_float_unit
from tests.hw.vector import test_residual_add, test_rope

seed = int(os.environ["SEED"])
parameters = json.loads(os.environ["PARAMETERS"])
leave_out, only = parameters.get("leave_out", ""), parameters.get("only")
PORTS = vector_units()
PATIENCE = 500
"""Cycles without any transfer after which a unit counts as hung."""


class Work(NamedTuple):
    """Beats that go in, those that must come out, and the cycles between."""

    sent: list[object]
    wanted: list[object]
    latency: list[int]
    pipelined: bool = True


def end(exact, bits):
    """Corner of a result of `bits` bits ahead of saturation."""
    peak = 1 << bits - 1
    rounded = round(exact)
    return "low" if rounded < -peak else "high" if rounded >= peak else "within"


def rounding(exact):
    """Which way a result is rounded."""
    rest, floor = exact % 1, exact // 1
    if 2 * rest == 1:
        return "tie to the even above" if floor & 1 else "tie to the even below"
    return "exact" if not rest else "below" if 2 * rest < 1 else "above"


def gate_corner(gate, config):
    most = (1 << config.relu_bits) - 1
    named = {-most - 1: "lowest", 0: "zero", 1: "one", most: "highest"}
    return named.get(gate, "negative" if gate < 0 else "")


def fill_corner(gates):
    count = int((gates > 0).sum())
    return {0: "empty", 1: "one gate", gates.size: "every gate"}.get(count, "")


def shift_corner(shift, config):
    return {0: "zero", config.most_shift: "largest"}.get(shift, "between")


def scale_work(coverage):
    y, scale, shift = test_scale_lanes.beats(SCALE, 80, seed)
    named = {float(smallfloat.SMALLEST): "smallest", float(smallfloat.LARGEST): "largest", 0.0:
             "zero"}
    edges = np.array(list(named))
    ties = np.arange(-7, 8)
    y = np.concatenate([y, np.full((3, SCALE.lanes), 1), np.stack([ties, -ties], axis=1)])
    scale = np.concatenate([scale, edges, np.full(len(ties), 0.5)])
    shift = np.concatenate([shift, [127, -128, 0], 0 * ties])
    for row, factor, by in zip(y.tolist(), scale.tolist(), shift.tolist()):
        exact = [value * Fraction(factor) * Fraction(2) ** by for value in row]
        coverage.sample(result=[end(value, SCALE.out_bits) for value in exact],
                        rounding=map(rounding, exact), scale=[named.get(factor)],
                        shift=[{0: "zero", -128: "lowest", 127: "highest"}.get(by)])
    wanted = scale_lanes(SCALE, y, scale, shift).tolist()
    return Work(test_scale_lanes.payloads(y, scale, shift), wanted, [SCALE.latency] * len(y))


def residual_work(coverage):
    x, y, scale, shift = test_residual_add.beats(SUM, 60, seed)
    for (word, *_), (value, *_), factor, by in zip(x.tolist(), y.tolist(), scale.tolist(),
                                                   shift.tolist()):
        addend = value * Fraction(factor) * 2 ** by
        peak = test_residual_add.PEAK
        kept = min(max(round(addend), -peak), peak - 1)
        coverage.sample(addend=[end(addend, 24)], sum=[end(Fraction(word + kept), 24)])
    m, e = (part.tolist() for part in smallfloat.split(scale))
    sent = [{"x": a, "y": b, "scale": {"m": c, "e": d}, "shift": by}
            for a, b, c, d, by in zip(x.tolist(), y.tolist(), m, e, shift.tolist())]
    return Work(sent, residual_add(x, y, scale, shift).tolist(), [SUM.latency] * len(sent))


def rope_work(coverage):
    vectors = test_rope.beats(ROPE, 80, seed)
    drop = 2 ** ROPE.dropped_bits
    for a, b, cos, sin in zip(*(column[:, 0].tolist() for column in vectors)):
        turned = Fraction(a * cos - b * sin, drop), Fraction(b * cos + a * sin, drop)
        coverage.sample(a=[end(turned[0], 24)], b=[end(turned[1], 24)],
                        rounding=map(rounding, turned))
    sent = [dict(zip(("a", "b", "cos", "sin"), beat))
            for beat in zip(*(column.tolist() for column in vectors))]
    wanted = [{"a": a, "b": b} for a, b in
              zip(*(words.tolist() for words in turn_pairs(ROPE, *vectors)))]
    return Work(sent, wanted, [ROPE.latency] * len(sent))


def glu_work(coverage):
    sent, wanted = [], []
    one = np.ones(())
    named = {-1 << GLU.up_bits - 1: "lowest", (1 << GLU.up_bits - 1) - 1: "highest"}
    vectors = list(test_relu2_glu.tokens(GLU, 12, seed))
    most, bound = (1 << GLU.relu_bits) - 1, 1 << GLU.up_bits - 1
    vectors += [(np.array([most]), np.array([-bound]), 2 * bound - 1),
                (np.array([0, 7, -9]), np.array([bound - 1, 3, 5]), bound)]
    for gate, up, peak in vectors:
        if leave_out == "empty gates" and not (gate > 0).any():
            continue
        shift = gate_shift(gate, peak.bit_length())
        words, _ = relu2_glu(gate, up, one, one, peak)
        wanted += [[word] for word in words.tolist()]
        sent += [{"gate": [g], "up": [u], "shift": shift}
                 for g, u in zip(gate.tolist(), up.tolist())]
        exact = [Fraction(max(g, 0) ** 2 * u, 2 ** shift) for g, u in
                 zip(gate.tolist(), up.tolist())]
        coverage.sample(gate=[gate_corner(g, GLU) for g in gate.tolist()],
                        up=[named.get(u) for u in up.tolist()], vector=[fill_corner(gate)],
                        shift=[shift_corner(shift, GLU)], rounding=map(rounding, exact))
    return Work(sent, wanted, [GLU.latency] * len(sent))


def peak_work(coverage):
    sent, wanted = [], []
    most = (1 << GATES.relu_bits) - 1
    extra = [(np.array(gates), GATES.up_bits) for gates in (
        [[0, 1, -5]], [[most] * 3, [-1] * 3], [[-1, most, 0]], [[40, 50, 60]])]
    for gates, peak_bits in [*test_gate_peak.vectors(GATES, seed), *extra]:
        for n, gate in enumerate(gates):
            ends = n == len(gates) - 1
            shift = gate_shift(gates[:n + 1], peak_bits)
            sent.append({"gate": gate.tolist(), "peak_bits": peak_bits, "last": ends})
            wanted.append({"mask": (gate > 0).astype(int).tolist(), "shift": shift, "last": ends})
        coverage.sample(gate=[gate_corner(g, GATES) for g in gates.ravel().tolist()],
                        vector=[fill_corner(gates)], beats=["one" if len(gates) == 1 else "more"],
                        shift=[shift_corner(shift, GATES)])
    return Work(sent, wanted, [GATES.peak_latency] * len(sent))


def outcome(name, a, b, result):
    """Corner of one operation."""
    if name == "div" and b == 0:
        return "by zero" if a else "zero by zero"
    if name in ("sqrt", "add"):
        exact = Fraction(a) + Fraction(b) if name == "add" else Fraction(result)
    else:
        exact = Fraction(a) * Fraction(b) if name == "mul" else Fraction(a) / Fraction(b)
    if result == float(smallfloat.LARGEST) and exact > result:
        return "overflow"
    return "within" if result else "underflow" if exact else "zero"


def unit_work(coverage):
    # The range's ends against each other, and a third of the rest.
    a, b = (np.concatenate([part[:64], part[64::3]]) for part in test_small_float_unit.pairs(seed))
    sent, wanted, latency = [], [], []

    def add(name, result, **operands):
        sent.append({"operation": Operation[name.upper()], "a": {"m": 0, "e": 0},
                     "b": {"m": 0, "e": 0}, "n": 0, **operands})
        wanted.append(test_small_float_unit.bits(result))
        latency.append(UNIT.latency[name])

    for name in ("mul", "div", "sqrt", "add"):
        # A root does not depend on the second operand, which is the slower one to change.
        x_all, y_all = (a[::7], b[::7]) if name == "sqrt" else (a, b)
        for x, y, result in zip(x_all.tolist(), y_all.tolist(),
                                compute(name, x_all, y_all).tolist()):
            add(name, result, a=test_small_float_unit.bits(x), b=test_small_float_unit.bits(y))
            coverage.sample(operation=[name], outcome=[outcome(name, x, y, result)])
    for number in test_small_float_unit.integers(seed):
        add("from_int", smallfloat.from_int(np.array(number)), n=number)
        coverage.sample(operation=["from_int"], outcome=["within" if number else "zero"])
    return Work(sent, wanted, latency, pipelined=False)


WORK = {"scale_lanes": scale_work, "residual_add": residual_work, "rope": rope_work,
        "relu2_glu": glu_work, "gate_peak": peak_work, "small_float_unit": unit_work}


async def transfer(dut, name, work, rate):
    """Send the beats; check values and, at full rate, the cycle of every transfer."""
    ports = getattr(PORTS, f"{name}_i"), getattr(PORTS, f"{name}_o")
    sent, wanted = ([pack(port.payload.shape(), beat) for beat in part]
                    for port, part in zip(ports, (work.sent, work.wanted)))
    driver = StreamDriver(dut, f"{name}_i", Stalls(rate, burst=2, seed=seed), sent)
    monitor = StreamMonitor(dut, f"{name}_o", Stalls(rate, burst=3, seed=seed + 1))
    clocked = Clocked(dut, driver, monitor)
    await clocked.reset()
    quiet = 0
    while len(monitor.payloads) < len(wanted) and quiet < PATIENCE:
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    wrong = [n for n, pair in enumerate(zip(monitor.payloads, wanted)) if pair[0] != pair[1]]
    assert not wrong, f"{name}: beats {wrong[:9]} of {len(wanted)} differ"
    assert len(monitor.payloads) == len(wanted), f"{name} hangs"
    if not rate:
        took = [end - start for start, end in zip(driver.cycles, monitor.cycles)]
        assert took == work.latency, f"{name}: latencies {set(took)}"
        apart = [1 if work.pipelined else latency + 1 for latency in work.latency]
        assert driver.cycles == [0, *np.cumsum(apart[:-1]).tolist()], f"{name}: intervals"


async def check(dut, name):
    """Full rate with every cycle, then stalls on both sides; then the corners."""
    if only not in (None, name):
        return
    Clock(dut.clk, 10, unit="ns").start()
    print(f"seed {seed}")
    coverage = COVERAGE[name]()
    work = WORK[name](coverage)
    await transfer(dut, name, work, 0.0)
    some = len(work.sent) // (1 if work.pipelined else 4)
    await transfer(dut, name, Work(work.sent[:some], work.wanted[:some], []), 0.5)
    coverage.check()


@cocotb.test()
async def scale_lanes_unit(dut):
    """Scaling to words."""
    await check(dut, "scale_lanes")


@cocotb.test()
async def residual_add_unit(dut):
    """Residual addition."""
    await check(dut, "residual_add")


@cocotb.test()
async def rope_unit(dut):
    """Rotary embedding."""
    await check(dut, "rope")


@cocotb.test()
async def relu2_glu_unit(dut):
    """Gated products."""
    await check(dut, "relu2_glu")


@cocotb.test()
async def gate_peak_unit(dut):
    """Masks and shifts."""
    await check(dut, "gate_peak")


@cocotb.test()
async def small_float_unit_unit(dut):
    """Scalar operations."""
    await check(dut, "small_float_unit")
