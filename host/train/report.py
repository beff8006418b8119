# SPDX-License-Identifier: Apache-2.0
"""Figures of the trained runs: ``docs/results/model.json``, and its tables in ``docs/model.md``."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from host.train.config import TrainConfig
from host.train.data import Corpus
from host.train.evaluate import active_share, perplexity, residual_peak, zeros
from host.train.model import Decoder, RMSNorm
from host.train.scheme import Scheme

__all__ = ["best_decoder", "measure", "merge_json", "rounded_gains", "tables",
           "training_peak"]

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
GAIN_BITS = 12
CPU = torch.device("cpu")

Json = dict[str, Any]


def best_decoder(config: TrainConfig, work: Path, run: str,
                 device: torch.device = CPU) -> tuple[Decoder, Json]:
    """Load the weights that run `run` kept, and the rest of its checkpoint.

    Raises
    ------
    FileNotFoundError
        The run was not trained to its last stage.
    """
    path = work / f"{run}.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `python -m host.train run {run}` first")
    state: Json = torch.load(path, map_location="cpu", weights_only=True)
    if state["best"] is None:
        raise FileNotFoundError(f"{path} stopped ahead of the last stage: run it again to go on")
    model = Decoder(config.shape)
    model.load_state_dict(state["best"])
    return model.to(device).eval(), state


def rounded_gains(model: Decoder) -> Decoder:
    """Round every RMSNorm gain to 12 signed bits with one scale a vector, in place."""
    top = 2 ** (GAIN_BITS - 1) - 1
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, RMSNorm):
                scale = module.gain.abs().max() / top
                module.gain.copy_((module.gain / scale).round() * scale)
    return model


def measure(config: TrainConfig, corpus: Corpus, work: Path, say: Callable[[str], None],
            device: torch.device = CPU) -> Json:
    """Measure all that ``docs/results/model.json`` holds of training, from the kept weights."""
    held_out = corpus.held_out.to(device)
    characters = sum(map(len, corpus.tokenizer.decode_batch(corpus.held_out[:, 1:].tolist())))
    result: Json = {"runs": {}, "trained": {}}
    for row, (run, scheme) in config.evaluations.items():
        model, _ = best_decoder(config, work, run, device)
        found = perplexity(model, held_out, scheme)
        bits = found.nats / math.log(2) / characters
        result["runs"][row] = {"perplexity": round(found.perplexity, 4),
                               "bits_per_character": round(bits, 4), "run": run,
                               "scheme": dataclasses.asdict(scheme)}
        say(f"{row}: perplexity {found.perplexity:.3f}, {bits:.3f} bits a character")
    for run, recipe in config.recipes.items():
        _, state = best_decoder(config, work, run)
        result["trained"][run] = {
            "validation_perplexity": round(state["best_perplexity"], 4),
            "kept_step": state["best_step"], "steps": state["step"], "seed": recipe.seed,
            "seconds": round(state["seconds"]), "device": state["device"], "torch": state["torch"],
            "digest": state["digest"]}
    for key, row in (("zeros", "a48_kv3"), ("zeros_b158", "b158"), ("zeros_fp4", "a48_fp4")):
        run, scheme = config.evaluations[row]
        model, _ = best_decoder(config, work, run, device)
        share = zeros(model, held_out, scheme)
        result[key] = {name: round(value, 4) for name, value in share._asdict().items()}
        suffix = key.removeprefix("zeros")
        result["active_share" + suffix] = round(active_share(config.shape, share), 4)
        say(f"{key}: {result[key]}")
    run, scheme = config.evaluations["a48_kv3"]
    model, _ = best_decoder(config, work, run, device)
    gains = torch.cat([m.gain.detach() for m in model.modules() if isinstance(m, RMSNorm)])
    rounded = perplexity(rounded_gains(model), held_out, scheme)
    result["gains"] = {"min": round(float(gains.min()), 4), "max": round(float(gains.max()), 4),
                       "positive_share": round(float((gains > 0).float().mean()), 4),
                       "perplexity_rounded_to_12_bits": round(rounded.perplexity, 4)}
    result["parameters"] = {"ternary": config.shape.ternary_parameters,
                            "embedding": config.shape.vocab * config.shape.hidden}
    result["held_out"] = {"windows": len(held_out), "tokens": held_out[:, 1:].numel(),
                          "characters": characters}
    return result


def training_peak(config: TrainConfig, corpus: Corpus, model: Decoder, scheme: Scheme,
                  count: int) -> float:
    """Find the largest residual magnitude on `count` windows spread over the training text."""
    body = config.shape.context - 1
    starts = torch.linspace(0, len(corpus.train) - body - 1, count).long()
    text = corpus.train[starts[:, None] + torch.arange(body)].to(model.embedding.device)
    return residual_peak(model, torch.nn.functional.pad(text, (1, 0)), scheme)


def merge_json(path: Path, news: Json) -> None:
    """Merge `news` into a JSON object on disk, dictionary by dictionary; other keys stay."""
    old: Json = json.loads(path.read_text()) if path.exists() else {}

    def merge(into: Json, new: Json) -> None:
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value)
            else:
                into[key] = value

    merge(old, news)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(old, indent=2) + "\n")
    partial.replace(path)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def render(figures: Json) -> str:
    """Render the three tables as Markdown."""
    runs = figures["runs"]
    base = runs["b158"]["perplexity"]

    def row(name: str) -> list[str]:
        value = runs[name]["perplexity"]
        bits = runs[name].get("bits_per_character")
        return [f"`{name}`", f"{value:.3f}", f"{100 * (value / base - 1):+.1f} %",
                "" if bits is None else f"{bits:.3f}"]

    head = ["run", "perplexity", "against b1.58", "bits a character"]
    quality = _table(head, [row(n) for n in ("fp", "b158", "a48", "a48_fp4")])
    cache = _table(head, [row(n) for n in runs if n.startswith("a48") and n != "a48_fp4"])
    columns = ["qkv", "out", "up", "gate", "down"]
    sparsity = _table(
        ["run", *columns, "gate output", "active share"],
        [[label, *(f"{100 * figures[key][c]:.1f}" for c in (*columns, "gate_output")),
          f"{100 * figures['active_share' + key.removeprefix('zeros')]:.1f}"]
         for label, key in (("`b158`", "zeros_b158"), ("`a48_kv3`", "zeros"),
                            ("`a48_fp4`", "zeros_fp4"))])
    return "\n\n".join([
        "Held-out perplexity a token (the paper's Table 1):", quality,
        "Zeros among inputs, in % (Table 2):", sparsity,
        "Low-bit attention (Table 3; `a48` caches K and V unquantised):", cache]) + "\n"


def tables(figures: Path, document: Path) -> None:
    """Rewrite the marked section of `document` from the JSON file `figures`.

    Raises
    ------
    ValueError
        The document has no marked section.
    """
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{document} lacks the marks {BEGIN} and {END}")
    rendered = render(json.loads(figures.read_text()))
    document.write_text(f"{before}{BEGIN}\n{rendered}{END}{after}")
