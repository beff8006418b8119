# SPDX-License-Identifier: Apache-2.0
"""The demo's whole blocks: what they are compared with, and that a difference is told."""

import dataclasses
import shutil

import numpy as np
import pytest
from amaranth import C

from golden_model import smallfloat
from golden_model.accelerator_config import UnitsConfig
from golden_model.config import ArrayConfig, ModelShape, Numerics
from golden_model.presets import preset
from golden_model.weights import random_weights
from host.demo import decode
from host.demo_block import engines, ffn_runs, run_blocks, summarize_unit, wo_runs
from host.errors import CheckFailedError, UserError
from hw.ffn.gated_ffn import GatedFfn
from hw.sparse.masked_linear import MaskedLinear
from sim.block_jobs import UnitResult
from sim.ffn_jobs import ffn_cycles
from sim.masked_jobs import masked_cycles

SHAPE = ModelShape(vocab=9, hidden=20, ffn=36, layers=2, heads=2, kv_heads=1, head_dim=10,
                   context=8)
SMALL = dataclasses.replace(
    preset("tiny"), array=ArrayConfig(rows=2, lanes=4, max_k=36, max_m=36),
    units=UnitsConfig(up_width=8, down_width=5, max_hidden=20, max_ffn=36, form="dsp"),
    system=None)


@pytest.fixture(scope="module")
def decoder():
    return decode(random_weights(SHAPE, Numerics(), seed=1), np.arange(5), 2)


@pytest.fixture(params=["wo", "ffn"])
def unit(request, decoder):
    """Name of a unit, its runs, and the cycles that they should take."""
    wo, ffn = engines(SMALL, decoder.weights)
    if request.param == "wo":
        runs = wo_runs(SMALL.array, decoder, 2, 3)
        return request.param, runs, masked_cycles(wo, [run.job for run in runs], 4), 20
    runs = ffn_runs(SMALL.array, ffn, decoder, 2, 3)
    return request.param, runs, ffn_cycles(ffn, [run.job for run in runs], 4), 20


def perfect(runs, cycles, size):
    """Return what a simulation gives in which all is well."""
    scales = [smallfloat.split(np.asarray(run.scale)) for run in runs]
    return UnitResult(
        sums=[int(x) for run in runs for x in np.pad(run.sums, (0, size - run.sums.size))],
        scales=[{"m": int(m), "e": int(e)} for m, e in scales],
        requests={name: [int(x) for run in runs for x in run.requests[name]]
                  for name in runs[0].requests},
        cycles={name: [cycle for part in cycles for cycle in part[name]] for name in cycles[0]})


def test_all_is_well(unit):
    name, runs, cycles, size = unit
    rows = summarize_unit(name, runs, perfect(runs, cycles, size), cycles)
    assert [row.layer for row in rows] == [f"layers.0.{name}", f"layers.1.{name}"]
    assert all(row.passed and row.tokens == 3 for row in rows)
    last = cycles[-1]
    assert sum(row.cycles for row in rows) == max(last["o"][-1], last["o_scale"][-1]) + 1
    for row in rows:
        shares = {product.name: product.fetched / (3 * product.m * product.k)
                  for product in row.products}
        assert all(0 < share <= 1 for share in shares.values())
        if name == "wo":
            assert shares["wo"] <= 0.5
        else:
            assert shares["gate"] == 1 > max(shares["up"], shares["down"])


def test_every_kind_of_difference_is_told(unit):
    name, runs, cycles, size = unit
    good = perfect(runs, cycles, size)

    def rows(**changes):
        return summarize_unit(name, runs, dataclasses.replace(good, **changes), cycles)

    wrong = [*good.sums[:-size], good.sums[-size] + 1, *good.sums[1 - size:]]
    assert [row.equal for row in rows(sums=wrong)] == [True, False]
    scales = [{**good.scales[0], "m": good.scales[0]["m"] ^ 1}, *good.scales[1:]]
    assert [row.equal for row in rows(scales=scales)] == [False, True]
    for stream, values in good.requests.items():
        assert not rows(requests={**good.requests, stream: [*values, 0]})[-1].equal
        assert not rows(requests={**good.requests, stream: [values[0] + 1, *values[1:]]})[0].equal
    for stream in cycles[0]:
        late = [*good.cycles[stream][:-1], good.cycles[stream][-1] + 1]
        first, last = rows(cycles={**good.cycles, stream: late})
        assert first.passed
        assert last.equal
        assert not last.passed, stream


@pytest.mark.parametrize(("change", "message"), [
    ({"units": None}, "is an array alone: add --dense"),
    ({"units": UnitsConfig(up_width=8, down_width=5, max_hidden=16, max_ffn=36)},
     "units.max_hidden of at least 20, not 16"),
    ({"units": UnitsConfig(up_width=8, down_width=5, max_hidden=20, max_ffn=30)},
     "units.max_ffn of at least 36, not 30"),
    ({"numerics": Numerics(act_format="fp4")}, "numerics.act_format of int4, not fp4")])
def test_a_model_that_does_not_fit_is_refused(decoder, change, message):
    with pytest.raises(UserError, match=message):
        engines(dataclasses.replace(SMALL, **change), decoder.weights)


@pytest.fixture
def simulated(decoder):
    if not shutil.which("iverilog"):
        pytest.skip("iverilog is not installed: apt-get install iverilog")
    said = []
    return lambda: (run_blocks(SMALL, decoder, 2, 2, "icarus", said.append), said)


@pytest.mark.cocotb
@pytest.mark.slow
def test_blocks_of_a_small_model_run_exactly(simulated):
    rows, said = simulated()
    assert [row.layer for row in rows] == [
        f"layers.{n}.{part}" for n in range(2) for part in ("wq", "wk", "wv", "wo", "ffn")]
    assert all(row.passed for row in rows)
    assert f"{sum(row.cycles for row in rows):,} cycles predicted" in said


@pytest.mark.cocotb
@pytest.mark.slow
def test_a_selection_left_out_of_the_hardware_is_noticed(simulated, monkeypatch):
    mask = MaskedLinear.mask
    monkeypatch.setattr(MaskedLinear, "mask", lambda self, m, codes, channels, start, selecting:
                        mask(self, m, codes, channels, start, C(0)))
    with pytest.raises(CheckFailedError, match="bench_block on icarus"):
        simulated()


@pytest.mark.cocotb
def test_hardware_that_takes_activations_early_is_noticed(simulated, monkeypatch):
    """Values are right all the same: the row must say that it is the cycles."""
    activations = GatedFfn.activations
    monkeypatch.setattr(GatedFfn, "activations", lambda self, m, array, gate_up, enable:
                        activations(self, m, array, gate_up, C(1, 1)))
    rows, _ = simulated()
    assert all(row.equal for row in rows)
    assert [row.layer for row in rows if not row.passed] == ["layers.0.ffn", "layers.1.ffn"]
