# SPDX-License-Identifier: Apache-2.0
"""Sound checkpoints in every layout: what comes in is what was written out, to the last logit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden_model.config import Numerics
from golden_model.exact import ExactDecoder
from golden_model.presets import preset
from golden_model.weights import DecoderWeights, LayerWeights, TernaryMatrix, random_weights
from host.compile.fit import check_fits
from host.errors import UserError
from host.gpu.token.launches import misfit
from host.importing.build import import_model, open_source, write_model
from host.model_file import load_model
from tests.host.importing import writers
from tests.host.importing.writers import OLD_NORMS, SHAPE, WIDE, config_of, entries_of, model

LEGACY = {"quant_method": "bitnet", "modules_to_not_convert": None}


def logits(weights):
    decoder = ExactDecoder(weights)
    tokens = np.random.default_rng(1).integers(0, weights.shape.vocab, weights.shape.context)
    return decoder.forward(tokens), decoder.logit_scale


def brought_in(path, **options):
    found = import_model(open_source(path, **options), "a48", residual_frac=16)
    return found


def assert_same(found, weights):
    assert found.weights.shape == weights.shape
    for one, two in zip(found.weights.layers, weights.layers, strict=True):
        for part, matrix in two.matrices.items():
            assert np.array_equal(one.matrices[part].trits, matrix.trits), part
            assert one.matrices[part].scale == np.float32(matrix.scale), part
    (ours, our_scale), (theirs, their_scale) = logits(found.weights), logits(weights)
    assert np.array_equal(ours, theirs)
    assert np.array_equal(our_scale, their_scale)


@pytest.mark.parametrize("architecture", ["BitNetForCausalLM", "BitnetForCausalLM",
                                          "LlamaForCausalLM"])
@pytest.mark.parametrize("norms", [writers.HF_NORMS, OLD_NORMS], ids=["new", "old"])
def test_packed_uint8(tmp_path, architecture, norms):
    weights = model()
    path = writers.write_hf(tmp_path / "m", entries_of(weights, norms=norms),
                            config_of(SHAPE, architectures=[architecture]))
    found = brought_in(path)
    assert found.layout == "HF packed uint8"
    assert found.embedding.exact
    assert any("multiply" in note for note in found.notes)
    assert_same(found, weights)


def powers_of_two(weights):
    """Give a model scales whose reciprocal is exact."""
    layers = tuple(LayerWeights(
        matrices={p: TernaryMatrix(trits=m.trits, scale=2.0 ** round(np.log2(m.scale)))
                  for p, m in layer.matrices.items()}, gains=layer.gains)
        for layer in weights.layers)
    return replace(weights, layers=layers)


def test_legacy_scales_divide(tmp_path):
    weights = powers_of_two(model())
    tensors = entries_of(weights, scales="divide")
    path = writers.write_hf(tmp_path / "m", tensors, config_of(SHAPE, quantization_config=LEGACY))
    found = brought_in(path)
    assert any("divide" in note for note in found.notes)
    assert_same(found, weights)
    path = writers.write_hf(tmp_path / "m", tensors, config_of(SHAPE))
    assert_same(brought_in(path, scale="divide"), weights)
    with pytest.raises(AssertionError):  # negative control: the other convention is another model
        assert_same(brought_in(path, scale="multiply"), weights)


def master_model(seed):
    """Masters that bfloat16 holds, and the model that the paper's equation 2 makes of them."""
    weights, rng, masters, layers = model(seed=seed), np.random.default_rng(seed), {}, []
    for i, layer in enumerate(weights.layers):
        matrices = {}
        for part, size in SHAPE.projections.items():
            bits = rng.normal(0, 0.02, size).astype(np.float32).view(np.uint32) & 0xFFFF0000
            masters[i, part] = w = bits.view(np.float32)
            alpha = np.float32(np.abs(w.astype(np.float64)).mean())
            trits = np.sign(w) * (np.abs(w) * (np.float32(1) / alpha) > 0.5)
            matrices[part] = TernaryMatrix(trits=trits.astype(np.int8),
                                           scale=float(1 / (np.float32(1) / alpha)))
        layers.append(LayerWeights(matrices=matrices, gains=layer.gains))
    return replace(weights, layers=tuple(layers)), masters


def test_bfloat16_masters(tmp_path):
    weights, masters = master_model(4)
    path = writers.write_hf(tmp_path / "m", entries_of(weights, masters=masters),
                            config_of(SHAPE, quantization_config=...))
    found = brought_in(path)
    assert found.layout == "HF floats"
    assert_same(found, weights)


def test_trits_as_floats_with_a_scale(tmp_path):
    weights = model()
    trits = {(i, part): matrix.trits.astype(np.float32) for i, layer in enumerate(weights.layers)
             for part, matrix in layer.matrices.items()}
    tensors = entries_of(weights, masters=trits)
    scales = {name: entry for name, entry in entries_of(weights).items()
              if name.endswith("weight_scale")}
    path = writers.write_hf(tmp_path / "m", tensors | scales, config_of(SHAPE))
    assert_same(brought_in(path), weights)


def test_shards(tmp_path):
    weights, path = model(), tmp_path / "m"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config_of(SHAPE)))
    names = sorted(entries := entries_of(weights))
    index = {}
    for number, part in enumerate((names[:20], names[20:])):
        shard = f"model-{number + 1:05}-of-00002.safetensors"
        (path / shard).write_bytes(writers.safetensors_bytes({n: entries[n] for n in part}))
        index |= dict.fromkeys(part, shard)
    (path / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": 1}, "weight_map": index}))
    assert_same(brought_in(path), weights)


def test_a_head_that_equals_the_embedding_is_tied(tmp_path):
    weights = model()
    tensors = entries_of(weights)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = writers.f32([1.0, 0.5, 0.25])
    path = writers.write_hf(tmp_path / "m", tensors, config_of(SHAPE, tie_word_embeddings=False))
    assert_same(brought_in(path), weights)


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0", "I2_S"])
def test_gguf(tmp_path, kind):
    weights = powers_of_two(model(WIDE))  # TQ scales are float16
    path = tmp_path / "m.gguf"
    path.write_bytes(writers.gguf_bytes(*writers.gguf_of(weights, kind)))
    found = brought_in(path)
    assert found.layout == f"GGUF {kind}"
    assert_same(found, weights)


def test_gguf_of_arm_and_with_scales_beside(tmp_path):
    weights, path = powers_of_two(model(WIDE)), tmp_path / "m.gguf"
    metadata, tensors = writers.gguf_of(weights, "I2_S", block=64)
    path.write_bytes(writers.gguf_bytes(metadata, tensors))
    assert_same(brought_in(path, i2_s_block=64), weights)
    with pytest.raises(AssertionError):  # negative control: 128 reads other trits
        assert_same(brought_in(path), weights)

    metadata, tensors = writers.gguf_of(weights, "TQ2_0")
    alpha = weights.layers[0].matrices["up"].scale
    trits = weights.layers[0].matrices["up"].trits
    tensors["blk.0.ffn_up.weight"] = "TQ2_0", [256, 512], writers.pack_tq2_0(trits, 1.0)
    tensors["blk.0.ffn_up.scale"] = "F32", [1], np.float32(alpha).tobytes()
    path.write_bytes(writers.gguf_bytes(metadata, tensors))
    assert_same(brought_in(path), weights)


def test_a_float_embedding_is_rounded_with_a_report(tmp_path):
    weights = model()
    tensors = entries_of(weights)
    table = np.random.default_rng(0).normal(0, 0.05, (SHAPE.vocab, SHAPE.hidden))
    tensors["model.embed_tokens.weight"] = writers.f32(table)
    found = brought_in(writers.write_hf(tmp_path / "m", tensors, config_of(SHAPE)))
    error = found.embedding
    assert not error.exact
    grid = [np.clip(np.rint(table / scale), -13, 13) * scale - table
            for scale in np.linspace(0.001, 0.03, 2000)]
    best = 10 * np.log10(np.square(table).sum() / min(np.square(e).sum() for e in grid))
    assert best - 0.1 < error.sqnr_db < best + 0.01
    reached = np.abs(found.weights.embedding * error.scale - table.astype(np.float32)).max()
    assert error.largest == pytest.approx(reached / np.abs(table).max(), rel=1e-6)
    assert 0 <= error.clipped < 0.02


def test_the_residual_stream_keeps_its_headroom(tmp_path):
    weights = model()
    path = writers.write_hf(tmp_path / "m", entries_of(weights), config_of(SHAPE))
    found = import_model(open_source(path), "b158")
    assert found.weights.numerics.act_format == "int8"
    assert 10 <= found.weights.residual_frac <= 20
    assert "times that" in found.notes[-1]
    reference = replace(weights, residual_frac=found.weights.residual_frac,
                        numerics=found.weights.numerics)
    assert np.array_equal(logits(found.weights)[0], logits(reference)[0])


def test_the_demo_model_survives_the_journey(tmp_path):
    """Real weights, a scale that is no power of two, and an embedding in float32."""
    weights = load_model(Path(__file__).parents[3] / "models" / "demo" / "model.safetensors")
    tensors = entries_of(replace(weights, embedding_scale=1.0))
    table = weights.embedding * np.float32(weights.embedding_scale)
    tensors["model.embed_tokens.weight"] = writers.f32(table)
    path = writers.write_hf(tmp_path / "m", tensors, config_of(
        weights.shape, head_dim=weights.shape.head_dim))
    source = open_source(path)
    found = import_model(source, "a48", weights.residual_frac)
    assert found.weights.numerics == weights.numerics
    assert np.array_equal(found.weights.embedding, weights.embedding)
    assert found.weights.embedding_scale == pytest.approx(weights.embedding_scale, rel=1e-7)
    assert_same(found, weights)


def test_a_long_context_is_cut_and_said(tmp_path):
    path = writers.write_hf(tmp_path / "m", entries_of(model()),
                            config_of(SHAPE, max_position_embeddings=131_072))
    found = brought_in(path)
    assert found.weights.shape.context == 4096
    assert any("131072" in note for note in found.notes)


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    weights, path = model(), tmp_path / "out.safetensors"
    write_model(path, weights)
    assert isinstance(load_model(path), DecoderWeights)
    before = path.read_bytes()
    with pytest.raises(UserError, match="--force"):
        write_model(path, weights)

    def full(*_):
        (tmp_path / "out.safetensors.partial").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("host.importing.build.save_model", full)
    with pytest.raises(UserError, match="No space left"):
        write_model(path, weights, force=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.safetensors"]
    for place in (tmp_path, tmp_path / "none" / "out.safetensors"):
        with pytest.raises(UserError):
            write_model(place, weights, force=True)


def test_the_command(tmp_path, tritforge):
    writers.write_hf(tmp_path / "ä m", entries_of(model()), config_of(SHAPE))
    run = tritforge("import", "ä m", "--dry-run")
    assert run.code == 0, run.err
    assert "HF packed uint8" in run.out
    assert "Nothing was written" in run.out
    run = tritforge("import", "ä m", "-o", "out.safetensors", "--scheme", "a48", "--json")
    assert run.code == 0, run.err
    assert run.document["embedding"]["exact"]
    assert len(run.document["matrices"]) == 14
    assert load_model(tmp_path / "out.safetensors").shape == SHAPE
    for wrong, words in ((["-o", "out.safetensors"], "--force"), ([], "--out"),
                         (["--dry-run", "--scheme", "b157"], "did you mean 'b158'"),
                         (["--dry-run", "--scale", "times"], "multiply"),
                         (["--dry-run", "--i2-s-block", "32"], "128 or 64")):
        run = tritforge("import", "ä m", *wrong)
        assert run.code == 2, wrong
        assert words in run.err


@pytest.mark.parametrize("layout", ["hf", "gguf"])
def test_a_model_without_sub_norms(tmp_path, layout):
    """It is read, runs on the CPU, and everything else says why it does not."""
    shape = SHAPE if layout == "hf" else WIDE
    weights = random_weights(shape, Numerics(), 3, sub_norms=False)
    if layout == "hf":
        path = writers.write_hf(tmp_path / "m", entries_of(weights), config_of(SHAPE))
    else:
        path = tmp_path / "m.gguf"
        path.write_bytes(writers.gguf_bytes(*writers.gguf_of(weights, "TQ2_0")))
    found = brought_in(path)
    assert set(found.weights.layers[0].gains) == {"input_norm", "ffn_norm"}
    assert any("No norm stands ahead of Wo" in note for note in found.notes)
    if layout == "hf":
        assert_same(found, weights)
    written = tmp_path / "packed.safetensors"
    write_model(written, found.weights)
    again = load_model(written)
    assert not again.sub_norms
    assert np.array_equal(logits(again)[0], logits(found.weights)[0])
    assert not np.array_equal(logits(again)[0], logits(model(shape))[0])
    with pytest.raises(UserError, match="no norm ahead of Wo and Wdown"):
        check_fits(again, preset("tiny").decoder)
    assert "norm ahead of Wo and Wdown" in misfit(again, shape.context)
