# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import Module
from amaranth.sim import Simulator

from golden_model.attention.softmax import EXP2_TABLE
from golden_model.attention.value_weight import common_exponent, value_weights
from golden_model.formats import decode_kv_scale
from golden_model.softmax_config import ValueWeightConfig
from hw.attention import power_table, value_weight
from hw.attention.power_table import PowerTable
from hw.attention.value_weight import ValueWeight

CONFIGS = [ValueWeightConfig(), ValueWeightConfig(rows_per_stage=1, form="dsp"),
           ValueWeightConfig(rows_per_stage=9, form="dsp")]


def operands(every=False):
    """Yield passes of log scores below a largest one, and KV scales of their value rows."""
    rng = np.random.default_rng(6)
    distances = [np.arange(0, 4200, 1 if every else 7), rng.integers(0, 1 << 12, 150),
                 np.array([0]), np.array([0, (1 << 24) - 1]), rng.integers(0, 1 << 24, 40)]
    for number, distance in enumerate(distances):
        scales = rng.integers(0, 1 << 16, len(distance))
        if number == 1:
            scales = rng.integers(40 << 10, 44 << 10, len(distance))
        scales[rng.random(len(scales)) < 0.1] = 0
        largest = (1 << 23) - 1 if distance.max() >= 1 << 20 else int(rng.integers(1 << 12))
        yield distance, largest, scales
    yield np.zeros(3, np.int64), 0, np.zeros(3, np.int64)


def run(config, every=False, reader=0):
    """Both weights of the hardware, in order, and of the golden model."""
    top, dut, table = Module(), ValueWeight(config), PowerTable()
    top.submodules += [dut, table]
    top.d.comb += [table.at[reader].eq(dut.at), dut.power.eq(table.power[reader])]
    got_p, got_w, wanted_p, wanted_w, rows = [], [], [], [], []
    for distance, largest, scales in operands(every):
        real = decode_kv_scale(scales)
        p, w = value_weights(distance, real, common_exponent(real))
        wanted_p += p.tolist()
        wanted_w += w.tolist()
        exponent = max((int(scale) >> 10 for scale in scales if scale), default=0)
        rows += [(largest - int(d), largest, int(scale), exponent)
                 for d, scale in zip(distance, scales)]

    async def testbench(ctx):
        for cycle in range(len(rows) + config.latency):
            if config.weight_latency <= cycle < len(rows) + config.weight_latency:
                got_p.append(ctx.get(dut.p))
            if cycle >= config.latency:
                got_w.append(ctx.get(dut.w))
            for port, value in zip((dut.z, dut.largest, dut.scale, dut.exponent),
                                   rows[min(cycle, len(rows) - 1)]):
                ctx.set(port, value)
            await ctx.tick()

    sim = Simulator(top)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    return (got_p, got_w), (wanted_p, wanted_w)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model(config):
    got, wanted = run(config, every=config == CONFIGS[0])
    assert got == wanted
    assert max(wanted[0]) == 1 << 15


def test_the_tables_other_reader_gets_the_same():
    got, wanted = run(CONFIGS[0], reader=1)
    assert got == wanted


def test_latencies_are_pinned():
    assert [(config.weight_latency, config.latency) for config in CONFIGS] == [
        (5, 10), (5, 14), (5, 9)]


def test_the_table_is_that_of_the_golden_model():
    assert EXP2_TABLE.tolist() == power_table.TABLE


def test_truncation_is_noticed(monkeypatch):
    monkeypatch.setattr(value_weight, "nearest", lambda shifter, bits: shifter.window[:bits])
    got, wanted = run(CONFIGS[0])
    assert got[0] != wanted[0]


def test_a_small_table_entry_is_noticed(monkeypatch):
    table = power_table.TABLE
    monkeypatch.setattr(power_table, "TABLE", [*table[:7], table[7] - 1, *table[8:]])
    got, wanted = run(CONFIGS[0])
    assert got != wanted


@pytest.mark.parametrize(("wrong", "name"), [({"form": ""}, "form"),
                                             ({"rows_per_stage": 0}, "rows_per_stage")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        ValueWeightConfig(**wrong)
