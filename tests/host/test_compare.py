# SPDX-License-Identifier: Apache-2.0
"""``tritforge compare``: both sides, with and without measurements, and what is on record."""

import dataclasses
import json

import pytest

from golden_model.mac.ternary_array import array_cycles
from golden_model.presets import PRESETS
from host.compare import MODELS, compare, read_gpu
from host.compare_page import DOCUMENT, HEADS, RECORDS, cells, markdown, render
from host.demo import MODEL, read_model
from host.errors import UserError

FACTS = {"date": "2026-11-22", "device": {"name": "Test GPU"}, "clock_mhz": 1000.0,
         "method": {"roofline_bytes_per_s": 3e12}}


def measured(n, k, kernel, us, *, tokens=1, kept=1.0):
    return {"n": n, "k": k, "kernel": kernel, "tokens": tokens, "kept": kept, "cold_us": us,
            "warm_us": us / 2, "cycles": round(1000 * us), "roofline_share": 0.25}


ROWS = [measured(256, 128, "rows", 2.0), measured(128, 128, "rows", 3.0),
        measured(128, 128, "columns", 2.5, kept=0.5), measured(128, 128, "columns", 1.0, kept=0.4),
        measured(768, 128, "rows", 20.0), measured(128, 384, "rows", 4.0),
        measured(128, 384, "rows", 0.1, tokens=4), measured(512, 128, "levels", 5.0),
        measured(256, 128, "cublas-bf16", 9.0)]


@pytest.fixture
def folder(tmp_path):
    """Measurements of every matrix of the demo model, and of whole tokens."""
    (tmp_path / "products.json").write_text(json.dumps({**FACTS, "rows": ROWS}))
    (tmp_path / "token.json").write_text(json.dumps(
        {"shape": {"hidden": 128, "ffn": 384, "kv_heads": 2, "head_dim": 32, "layers": 6,
                   "vocab": 512}, "context": 128, "us": 77.5, "cycles": 77500}))
    return tmp_path


def demo(gpu, config=PRESETS["ulx3s"]):
    """Matrices of the demo model by name, and the model's document."""
    document, = compare(config, gpu, ["demo"])["models"]
    return {row["matrix"]: row for row in document["matrices"]}, document


def test_the_accelerators_side_is_the_cycle_models():
    config = PRESETS["ulx3s"]
    rows, document = demo(None)
    array = config.array
    assert rows["qkv"]["accelerator"]["cycles"] == array_cycles(array, 256, 128)
    beats = 64 * -(-128 // config.units.down_width)  # half of 128 channels
    assert rows["o"]["accelerator"]["cycles"] == beats + 4 + 2 + 1
    up = round(128 * 3 * rows["gate_up"]["kept"] * 2 - 384)
    assert rows["gate_up"]["accelerator"]["cycles"] > up // 128 + array_cycles(array, 384, 128)
    for row in rows.values():
        ours = row["accelerator"]
        assert ours["us"] == ours["cycles"] / 50.0
        assert ours["weights_per_cycle"] == row["n"] * row["k"] / ours["cycles"]
        assert 0.4 < ours["roofline_share"] <= 1
    total = document["all_matrices"]["accelerator"]
    assert total["cycles"] == sum(row["count"] * row["accelerator"]["cycles"]
                                  for row in rows.values())


def test_without_measurements_the_gpus_side_is_empty(tmp_path):
    assert read_gpu(tmp_path) is None
    rows, document = demo(None)
    assert {row["gpu"] for row in rows.values()} == {None}
    assert document["all_matrices"]["gpu"] is document["all_layers"]["time_ratio"] is None
    text = markdown(compare(PRESETS["ulx3s"], None, ["demo"]))
    assert "nothing on record" in text
    assert text.count("not measured") == len(rows)


def test_the_fastest_kernel_that_does_the_work_is_taken(folder):
    rows, document = demo(read_gpu(folder))
    assert {name: (row["gpu"]["kernel"], row["gpu"]["us"]) for name, row in rows.items()} == {
        "qkv": ("rows", 2.0), "o": ("columns", 2.5), "gate_up": ("rows", 20.0),
        "down": ("rows", 4.0), "head": ("levels", 5.0)}
    assert rows["qkv"]["library_us"] == 9.0
    assert rows["qkv"]["gpu"]["weights_per_cycle"] == 256 * 128 / 2000
    layers = 6 * (2.0 + 2.5 + 20.0 + 4.0)
    assert document["all_layers"]["gpu"]["us"] == pytest.approx(layers)
    assert document["all_matrices"]["gpu"]["us"] == pytest.approx(layers + 5.0)
    assert document["gpu_token"] == {"model": "demo", "context": 128, "us": 77.5, "cycles": 77500}
    assert compare(PRESETS["ulx3s"], read_gpu(folder), ["7B"])["models"][0]["gpu_token"] is None


def test_who_wins_is_shown_either_way(folder):
    rows, document = demo(read_gpu(folder))
    shown = {name: dict(zip(HEADS, cells(row), strict=True)) for name, row in rows.items()}
    assert shown["qkv"]["faster"] == "GPU 2.64x"
    assert shown["qkv"]["fewer cycles"].startswith("accelerator")
    assert shown["o"]["GPU kernel"] == "columns 50%"
    for row in rows.values():
        assert (row["time_ratio"] > 1) == (row["accelerator"]["us"] > row["gpu"]["us"])
    slow = dataclasses.replace(PRESETS["ulx3s"], clock_mhz=0.1)
    rows, _ = demo(read_gpu(folder), slow)
    assert all(cells(row)[-2].startswith("GPU ") for row in rows.values())
    assert document["all_matrices"]["cycles_ratio"] < 1


def test_an_array_alone_does_every_product():
    rows, _ = demo(None, PRESETS["icebreaker"])
    assert {row["kept"] for row in rows.values()} == {1.0}
    assert rows["down"]["accelerator"]["cycles"] > 128 * 384 // 64


def test_the_demo_models_sizes_are_the_models():
    shape, sizes = read_model(MODEL).shape, MODELS["demo"]
    assert sizes == (shape.hidden, shape.ffn, shape.kv_dim, shape.layers, shape.vocab)


@pytest.mark.parametrize(("text", "message"), [
    ("{", "is no JSON"), ("[]", "has no list of rows"), ('{"rows": 1}', "has no list of rows"),
    ('{"rows": [1]}', "row 0 has no sound n"),
    (json.dumps({**FACTS, "rows": [{**ROWS[0], "cold_us": 0}]}), "row 0 has no sound cold_us"),
    (json.dumps({**FACTS, "rows": [{**ROWS[0], "cycles": "9"}]}), "row 0 has no sound cycles"),
    (json.dumps({"rows": ROWS}), "does not say which device")])
def test_damaged_measurements_are_refused(tmp_path, text, message):
    (tmp_path / "products.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_gpu(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"shape": {}, "context": 1, "us": 1}'])
def test_a_damaged_token_is_refused(folder, text):
    (folder / "token.json").write_text(text)
    with pytest.raises(UserError, match=r"token.json: does not say which model"):
        read_gpu(folder)


def test_a_head_that_was_not_measured_leaves_the_layers(folder):
    found = json.loads((folder / "products.json").read_text())
    rows = [row for row in found["rows"] if row["kernel"] != "levels"]
    (folder / "products.json").write_text(json.dumps({**found, "rows": rows}))
    _, document = demo(read_gpu(folder))
    assert document["all_matrices"]["gpu"] is None
    assert document["all_layers"]["gpu"] is not None


def test_the_command(tritforge, folder):
    arguments = ("compare", "--preset", "ulx3s", "--model", "demo", "--gpu-results", str(folder))
    run = tritforge(*arguments, "--json")
    assert run.code == 0
    assert run.document["gpu"]["name"] == "Test GPU"
    assert run.document["energy"] is None
    shown = tritforge(*arguments)
    assert shown.code == 0
    assert "no GPU was used" in " ".join(shown.out.split())
    text = tritforge(*arguments, "--markdown").out
    assert text.startswith("## ulx3s")
    assert "| qkv | 256 x 128 | 6 |" in text


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "2B4"], "did you mean '2B4T'"),
    (["--gpu-results", "nowhere"], "no such directory"),
    (["--json", "--markdown"], "give one of them"), (["--preset", "ulx4s"], "did you mean")])
def test_the_command_refuses(tritforge, arguments, message):
    run = tritforge("compare", *arguments)
    assert run.code == 2
    assert message in run.out + run.err


def test_the_page_is_what_is_on_record():
    """If not: ``python -m host.compare_page``."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_on_record_is_what_the_command_says(tritforge, path):
    """If not: the command that the file names, with ``--record``, then the page."""
    recorded = json.loads(path.read_text())
    run = tritforge(*recorded["command"].split()[1:], "--json")
    assert run.code == 0, run.err
    assert run.document.items() <= recorded.items()
