# SPDX-License-Identifier: Apache-2.0
"""A few real steps on a tiny text: it learns, resumes bit for bit, and packs without loss."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

data = pytest.importorskip("host.train.data")
evaluate = pytest.importorskip("host.train.evaluate")
model_module = pytest.importorskip("host.train.model")
pack = pytest.importorskip("host.train.pack")
train_module = pytest.importorskip("host.train.train")
config_module = pytest.importorskip("host.train.config")
scheme_module = pytest.importorskip("host.train.scheme")
shape_module = pytest.importorskip("golden_model.config")

SHAPE = shape_module.ModelShape(vocab=264, hidden=16, ffn=24, layers=2, heads=2, kv_heads=1,
                                head_dim=8, context=16)
INT8 = scheme_module.Scheme(activations="int8")
A48 = scheme_module.Scheme(activations="int4", keep=0.5, trit_embedding=True, kv_bits=3,
                           bos_bits=4, q_bits=8)


def tiny_config(**changes):
    stages = (config_module.Stage(until=0.5, weight_decay=0.05, scheme=INT8),
              config_module.Stage(until=1.0, weight_decay=0.0, scheme=A48))
    recipe = config_module.Recipe(**({
        "steps": 12, "batch": 4, "peak_lr": 1e-2, "dropout": 0.1, "seed": 3, "warmup": 2,
        "evaluate_every": 4, "stages": stages} | changes))
    return config_module.TrainConfig(shape=SHAPE, held_out=("Ruth",), validation=("Lam",),
                                     recipes={"a48": recipe}, evaluations={"a48": ("a48", A48)})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    words = "And the earth was without form and void and darkness was upon the face of the deep"
    verses = "".join(f"{book}1:{i} {words} {i}.\n" for book in ("Ge", "Lam", "Ruth")
                     for i in range(1, 30))
    directory = tmp_path_factory.mktemp("corpus")
    counts = data.prepare(tiny_config(), verses, directory)
    assert set(counts) == {"train", "validation", "held_out"}
    return data.load_corpus(directory, SHAPE.context)


def job(corpus, checkpoint, **changes):
    return train_module.Job(**({
        "config": tiny_config(), "run": "a48", "text": corpus.train,
        "validation": corpus.validation, "checkpoint": checkpoint,
        "device": torch.device("cpu")} | changes))


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    return train_module.train(job(corpus, tmp_path_factory.mktemp("whole") / "a48.pt"))


def decoder(state):
    model = model_module.Decoder(SHAPE)
    model.load_state_dict(state["best"])
    return model.eval()


def test_tokenizer_round_trips_any_text(corpus):
    text = "Selah: \u00e9\U0001f600\n  <x>\t"
    assert corpus.tokenizer.decode(corpus.tokenizer.encode(text).ids) == text
    assert corpus.tokenizer.token_to_id("<bos>") == 0


def test_windows_open_with_bos_and_do_not_overlap(corpus):
    assert corpus.held_out.shape[1] == SHAPE.context
    assert corpus.held_out[:, 0].eq(0).all()
    assert not corpus.held_out[:, 1:].eq(0).any()


def test_training_learns(trained):
    steps, stages, _, values = zip(*trained["log"], strict=True)
    assert steps == (4, 8, 12)
    assert stages == (1, 2, 2)
    assert values[-1] < 0.8 * SHAPE.vocab
    assert trained["best_perplexity"] == min(values[1:])


@pytest.mark.parametrize("stop", [4, 5, 8])
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(corpus, trained, tmp_path, stop):
    path = tmp_path / "a48.pt"
    train_module.train(job(corpus, path, stop_after=stop))
    resumed = train_module.train(job(corpus, path))
    assert resumed["step"] == 12
    for name, value in trained["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    assert not list(tmp_path.glob("*.partial"))


def test_checkpoint_of_another_configuration_is_refused(corpus, tmp_path):
    path = tmp_path / "a48.pt"
    train_module.train(job(corpus, path, stop_after=1))
    other = dataclasses.replace(job(corpus, path), config=tiny_config(seed=4))
    with pytest.raises(train_module.CheckpointError, match="another configuration"):
        train_module.train(other)


def branch_config(**changes):
    """Return `tiny_config` cut in two: a trunk up to where stage 2 starts, and the rest."""
    config = tiny_config(**changes)
    whole = config.recipes["a48"]
    trunk = dataclasses.replace(whole, ends=0.5)
    branch = dataclasses.replace(whole, trunk="trunk", stages=whole.stages[1:])
    return dataclasses.replace(config, recipes={"trunk": trunk, "branch": branch})


@pytest.mark.parametrize("stop", [None, 9])
def test_trunk_and_branch_are_one_run_bit_for_bit(corpus, trained, tmp_path, stop):
    config, path = branch_config(evaluate_every=3), tmp_path / "branch.pt"
    trunk = train_module.train(job(corpus, tmp_path / "trunk.pt", config=config, run="trunk"))
    assert trunk["step"] == 6
    if stop:
        train_module.train(job(corpus, path, config=config, run="branch", stop_after=stop))
    branch = train_module.train(job(corpus, path, config=config, run="branch"))
    assert [step for step, *_ in branch["log"]] == [9, 12]
    for name, value in trained["model"].items():
        assert torch.equal(branch["model"][name], value), name


@pytest.mark.parametrize(("steps", "message"), [
    (0, "train 'trunk' ahead of 'branch'"), (4, "not a finished run"),
])
def test_branch_needs_a_finished_trunk(corpus, tmp_path, steps, message):
    if steps:
        train_module.train(job(corpus, tmp_path / "trunk.pt", config=branch_config(), run="trunk",
                               stop_after=steps))
    with pytest.raises(train_module.CheckpointError, match=message):
        train_module.train(job(corpus, tmp_path / "branch.pt", config=branch_config(),
                               run="branch"))
    assert not (tmp_path / "branch.pt").exists()


def test_digest_follows_the_trunk():
    config = branch_config()
    trunk = dataclasses.replace(config.recipes["trunk"], ends=0.25)
    other = dataclasses.replace(config, recipes=config.recipes | {"trunk": trunk})
    assert other.digest("branch") != config.digest("branch") != config.digest("trunk")


def test_training_on_the_logits_noise_lowers_it(corpus, tmp_path):
    noise = {}
    for weight in (0.0, 30.0):
        stage = config_module.Stage(until=1.0, weight_decay=0.0, scheme=INT8, noise_weight=weight)
        config = tiny_config(stages=(stage,), dropout=0.0)
        state = train_module.train(job(corpus, tmp_path / f"{weight}.pt", config=config))
        noise[weight] = float(decoder(state).requires_grad_(False).logits_and_noise(
            corpus.held_out, INT8, noise_bits=3)[1])
    assert noise[30.0] < 0.8 * noise[0.0]


def test_perplexity_of_uniform_logits_is_the_vocabulary(corpus):
    model = model_module.Decoder(SHAPE)
    with torch.no_grad():
        model.embedding.zero_()
    found = evaluate.perplexity(model, corpus.held_out, INT8)
    assert found.perplexity == pytest.approx(SHAPE.vocab, rel=1e-4)
    assert found.tokens == corpus.held_out[:, 1:].numel()


def test_zeros_follow_their_definitions(corpus, trained):
    share = evaluate.zeros(decoder(trained), corpus.held_out, A48)
    assert share.out >= 0.5
    assert share.up == pytest.approx(1 - (1 - share.gate) * (1 - share.gate_output))
    assert 0 < evaluate.active_share(SHAPE, share) < 1
    everything = evaluate.Zeros(*[0.25] * 6)
    assert evaluate.active_share(SHAPE, everything) == pytest.approx(0.75)


def test_position_does_not_see_later_tokens(corpus, trained):
    model, window = decoder(trained), corpus.held_out[:1].clone()
    before = model(window, A48)[:, :8]
    window[:, 8:] = 5
    assert torch.equal(model(window, A48)[:, :8], before)


def test_packed_model_is_the_trained_one(corpus, trained, tmp_path):
    model, path = decoder(trained), tmp_path / "model.safetensors"
    weights = pack.save_packed(path, model, A48, peak=3.0)
    assert weights.residual_frac == 19  # 4 x 3 needs 4 bits ahead of the point
    once = path.read_bytes()
    pack.save_packed(path, model, A48, peak=3.0)
    assert path.read_bytes() == once
    loaded, scheme = pack.load_packed(path)
    assert dataclasses.replace(scheme, embedding_range=A48.embedding_range) == A48
    for layer, packed in zip(model.layers, loaded.layers, strict=True):
        for p in SHAPE.projections:
            trits, alpha = getattr(layer, p).quantized()
            found, scale = getattr(packed, p).quantized()
            assert torch.equal(found, trits), p
            assert float(scale) == float(alpha), p
    logits = loaded(corpus.held_out, scheme)
    assert torch.allclose(logits, model(corpus.held_out, A48), atol=1e-4)


def test_exact_rows_stand_beside_their_float_rows(corpus, trained):
    exact_rows = pytest.importorskip("host.train.exact_rows")
    weights = pack.weights_of(decoder(trained), A48, peak=3.0)
    schemes = {"a48": dataclasses.replace(A48, kv_bits=16, bos_bits=16, q_bits=16),
               "a48_kv3_q8": A48}
    floats = {row: {"perplexity": evaluate.perplexity(decoder(trained), corpus.held_out,
                                                      scheme).perplexity,
                    "scheme": dataclasses.asdict(scheme)} for row, scheme in schemes.items()}
    found = dict(exact_rows.measure_exact(weights, corpus.held_out.numpy(), floats))
    assert list(found) == ["a48_exact", "a48_exact_kv3_q8"]
    for figures in found.values():
        assert abs(figures["against_float_percent"]) < 2
        assert figures["tokens"] == corpus.held_out[:, 1:].numel()
    assert found["a48_exact"]["numerics"]["kv_bits"] == 16
    assert found["a48_exact_kv3_q8"]["numerics"]["kv_bits"] == 3
