# SPDX-License-Identifier: Apache-2.0
"""Programs and their sections, for a random model and for the shipped one."""

import dataclasses
import itertools

import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ArrayConfig, ModelShape, Numerics
from golden_model.decoder_config import DecoderConfig
from golden_model.presets import preset
from golden_model.quant.rms_norm import fix_norm
from golden_model.weights import DecoderWeights, random_weights
from host.compile import layout
from host.compile.compiler import FORMATS, compile_model, model_hash, sections_of
from host.compile.image import parse_image
from host.demo import MODEL, read_model
from host.errors import UserError
from hw.quant.code_encoder import Format

SHAPE = ModelShape(vocab=11, hidden=12, ffn=20, layers=2, heads=2, kv_heads=1, head_dim=8,
                   context=5)
ARRAY = ArrayConfig(rows=2, lanes=40, max_k=64, max_m=64)
CONFIG = DecoderConfig(array=ARRAY, max_hidden=64, max_ffn=64, max_vocab=16,
                       attention=CachedAttentionConfig.of(SHAPE, Numerics(), lanes=8, queries=1,
                                                          window=4))
HASH = "0" * 15 + "1"


@pytest.fixture(scope="module")
def weights() -> DecoderWeights:
    return random_weights(SHAPE, Numerics(), seed=3)


def test_formats_are_those_of_the_hardware() -> None:
    assert {name: Format[name.upper()].value for name in FORMATS} == FORMATS


def test_sections_fill_the_image_without_gaps(weights: DecoderWeights) -> None:
    image, sections = compile_model(weights, CONFIG, HASH)
    ordered = sorted(sections.values(), key=lambda section: section.address)
    assert ordered[0].address == image.beats.shape[0] - sum(each.beats for each in ordered)
    for one, other in itertools.pairwise(ordered):
        assert one.address + one.beats == other.address
    assert parse_image(image.content, layout.beat_bytes(ARRAY), HASH).program == image.program


def test_addresses_are_those_of_what_they_name(weights: DecoderWeights) -> None:
    image, sections = compile_model(weights, CONFIG, HASH)
    code = list(image.program)
    assert [each.name for each in code] == [
        "embed", *["quantise", "attend", "output", "quantise", "feed_forward"] * 2,
        "quantise", "head", "end"]
    last = code[10].fields
    assert last["gate_address"] == sections["layers.1.gate"].address
    assert last["up_address"] == sections["layers.1.up"].address
    assert last["down_address"] == sections["layers.1.down"].address
    assert last["gain"] == sections["layers.1.ffn_sub_norm"].address
    assert code[0].fields["address"] == code[-2].fields["address"] == (
        sections["embedding"].address)
    assert code[0].fields["table"] == sections["rope"].address
    up = sections["layers.1.up"]
    assert (image.beats[up.address:up.address + up.beats]
            == layout.rows(ARRAY, weights.layers[1].matrices["up"].trits)).all()


def test_constants_are_those_of_the_exact_model(weights: DecoderWeights) -> None:
    _, program, _ = sections_of(weights, CONFIG)
    output, norm = program[3].fields, fix_norm(weights.layers[0].gains["attn_sub_norm"],
                                               SHAPE.rms_eps)
    assert (output["n"], output["keep"], output["shift"]) == (16, 8, weights.residual_frac)
    assert output["eps"] == smallfloat.to_bits(norm.eps)
    assert output["norm_scale"] == smallfloat.to_bits(norm.scale)
    assert output["alpha"] == smallfloat.to_bits(
        smallfloat.from_float(weights.layers[0].matrices["wo"].scale))
    assert program[5].fields["peak_bits"] == (8 * 12).bit_length()


def test_a_table_row_is_the_rotation_of_its_position(weights: DecoderWeights) -> None:
    image, sections = compile_model(weights, CONFIG, HASH)
    beats, table = image.program[0].fields["table_beats"], sections["rope"]
    assert table.beats == beats * SHAPE.context
    row = int.from_bytes(image.beats[table.address + beats].tobytes(), "little")
    assert [row & 0xFFFF, row >> 16 & 0xFFFF] == [8852, 13787]   # cos 1, sin 1 in Q1.14


def test_the_hash_knows_every_weight(weights: DecoderWeights) -> None:
    before = model_hash(weights)
    assert before == model_hash(random_weights(SHAPE, Numerics(), seed=3))
    weights.layers[1].matrices["down"].trits[0, 0] ^= 1
    assert before != model_hash(weights)
    weights.layers[1].matrices["down"].trits[0, 0] ^= 1


def test_runs_of_the_array_are_those_that_follow(weights: DecoderWeights) -> None:
    _, program, _ = sections_of(weights, CONFIG)
    runs = [each.fields for each in program if each.name == "quantise"]
    assert [(each["blocks"], each["tiles"], each["up_blocks"]) for each in runs] == [
        (16, 1, 0), (10, 1, 1), (16, 1, 0), (10, 1, 1), (18, 1, 0)]
    attend, head = program[7].fields, program[-2].fields
    assert (attend["layer"], attend["stream"], attend["beats"], attend["words"]) == (1, 1, 16, 1)
    assert (attend["passes"], attend["shared"], head["beats"]) == (2, 2, 18)


def test_rows_of_keys_and_queries_are_stored_in_pairs(weights: DecoderWeights) -> None:
    image, sections = compile_model(weights, CONFIG, HASH)
    trits, at = weights.layers[1].matrices, sections["layers.1.qkv"].address
    rows = np.concatenate([trits["wk"].trits[[0, 4, 1, 5]], trits["wk"].trits[[2, 6, 3, 7]],
                           trits["wv"].trits[:2]])
    assert np.array_equal(image.beats[at:at + 5], layout.dense(ARRAY, rows))


@pytest.mark.parametrize(("field", "value", "message"), [
    ("max_hidden", 8, "hidden is 12; the decoder takes at most 8"),
    ("max_vocab", 10, "vocab is 11; the decoder takes at most 10"),
    ("max_ffn", 16, "ffn is 20"),
])
def test_a_model_that_does_not_fit_is_refused(weights: DecoderWeights, field: str, value: int,
                                              message: str) -> None:
    with pytest.raises(UserError, match=message):
        compile_model(weights, dataclasses.replace(CONFIG, **{field: value}), HASH)


def test_numerics_that_were_not_built_are_refused(weights: DecoderWeights) -> None:
    other = dataclasses.replace(weights, numerics=Numerics(act_format="fp4"))
    with pytest.raises(UserError, match="act_format is fp4; the decoder is built for int4"):
        compile_model(other, CONFIG, HASH)


def test_the_shipped_model_is_about_as_small_as_its_trits() -> None:
    weights = read_model(MODEL)
    config = preset("ulx3s").decoder
    image, _ = compile_model(weights, config, HASH)
    trits = weights.shape.ternary_parameters + 3 * weights.embedding.size
    assert 1.6 < 8 * len(image.content) / trits < 1.85
    assert np.array_equal(parse_image(image.content, 26).beats, image.beats)
