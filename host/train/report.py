# SPDX-License-Identifier: Apache-2.0
"""Figures of the trained runs: ``docs/results/model.json``, and its tables in ``docs/model.md``."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from host.train.config import TrainConfig
from host.train.data import Corpus
from host.train.evaluate import ZeroCounter, active_share, perplexity, residual_peak
from host.train.model import Decoder, RMSNorm
from host.train.scheme import Scheme

__all__ = ["SHIPPED", "best_decoder", "measure", "merge_json", "read_state",
           "rounded_gains", "tables",
           "training_peak"]

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
GAIN_BITS = 12
SHIPPED = "a48_kv3_q8"
"""Evaluation that the packed model is for."""
ZEROS = {SHIPPED: "", "b158": "_b158", "a48_fp4": "_fp4"}
"""Rows whose zeros are recorded, and the suffix of their keys."""
CPU = torch.device("cpu")

TABLE_1 = ("fp", "b158_float", "b158", "a48", "a48_fp4")
TABLE_3 = ("a48", "a48_kv4", "a48_kv3", "a48_kv3_q8", "a48_kv3_q4", "b158_kv3", "a48_after",
           "a48_kv3_after")
SEEDED = ("b158", "a48", "a48_kv3", "a48_after", "a48_kv3_after")
"""Rows that there is one of for each seed: the first by this name, seed n by `name_n`."""

Json = dict[str, Any]


def read_state(work: Path, run: str) -> Json:
    """Load the checkpoint of run `run`.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    path = work / f"{run}.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `python -m host.train run {run}` first")
    state: Json = torch.load(path, map_location="cpu", weights_only=True)
    return state


def best_decoder(config: TrainConfig, work: Path, run: str,
                 device: torch.device = CPU) -> tuple[Decoder, Json]:
    """Load the weights that run `run` kept, and the rest of its checkpoint.

    Raises
    ------
    FileNotFoundError
        The run was not trained to its last stage.
    """
    state = read_state(work, run)
    if state["best"] is None:
        raise FileNotFoundError(f"{work / run}.pt stopped ahead of the last stage: run it again "
                                "to go on")
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


def measure(config: TrainConfig, corpus: Corpus, work: Path, put: Callable[[Json], None],
            rows: Sequence[str] | None = None, device: torch.device = CPU) -> Iterator[str]:
    """Measure what ``docs/results/model.json`` holds of training, from the kept weights.

    Parameters
    ----------
    put
        Receives figures to merge as soon as they are known.
    rows
        Evaluations to measure; all unless given.

    Yields
    ------
    str
        One line of progress for each row.
    """
    held_out = corpus.held_out.to(device)
    characters = sum(map(len, corpus.tokenizer.decode_batch(corpus.held_out[:, 1:].tolist())))
    trained = {run: _training(config, work, run)
               for run, recipe in config.recipes.items() if recipe.ends == 1}
    put({"parameters": {"ternary": config.shape.ternary_parameters,
                        "embedding": config.shape.vocab * config.shape.hidden},
         "held_out": {"windows": len(held_out), "tokens": held_out[:, 1:].numel(),
                      "characters": characters},
         "trained": trained})
    for row in config.evaluations if rows is None else rows:
        run, scheme = config.evaluations[row]
        model, _ = best_decoder(config, work, run, device)
        counter = ZeroCounter()
        found = perplexity(model, held_out, scheme, counter)
        bits = found.nats / math.log(2) / characters
        news: Json = {"runs": {row: {
            "perplexity": round(found.perplexity, 4), "bits_per_character": round(bits, 4),
            "run": run, "evaluated_on": f"{device.type}, float32",
            "scheme": dataclasses.asdict(scheme)}}}
        if row in ZEROS:
            share = counter.zeros()
            news["zeros" + ZEROS[row]] = {k: round(v, 4) for k, v in share._asdict().items()}
            news["active_share" + ZEROS[row]] = round(active_share(config.shape, share), 4)
        if row == SHIPPED:
            news["gains"] = _gains(model, held_out, scheme)
        put(news)
        yield f"{row}: perplexity {found.perplexity:.3f}, {bits:.3f} bits a character"


def _training(config: TrainConfig, work: Path, run: str) -> Json:
    _, state = best_decoder(config, work, run)
    recipe = config.recipes[run]
    return {"validation_perplexity": round(state["best_perplexity"], 4),
            "kept_step": state["best_step"], "steps": state["step"], "trunk": recipe.trunk,
            "seed": recipe.seed, "seconds": round(state["seconds"]), "device": state["device"],
            "torch": state["torch"], "digest": state["digest"]}


def _gains(model: Decoder, held_out: Tensor, scheme: Scheme) -> Json:
    """Range of the RMSNorm gains, and perplexity with them rounded; rounds those of `model`."""
    gains = torch.cat([m.gain.detach() for m in model.modules() if isinstance(m, RMSNorm)])
    rounded = perplexity(rounded_gains(model), held_out, scheme)
    return {"min": round(float(gains.min()), 4), "max": round(float(gains.max()), 4),
            "positive_share": round(float((gains > 0).float().mean()), 4),
            "perplexity_rounded_to_12_bits": round(rounded.perplexity, 4)}


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


def _against(runs: Json, row: str, base: str) -> float:
    """Percent by which the perplexity of `row` lies above that of `base`."""
    return float(100 * (runs[row]["perplexity"] / runs[base]["perplexity"] - 1))


def _verdict(met: bool) -> str:
    return "yes" if met else "**no**"


def _targets(figures: Json) -> list[list[str]]:
    """One row a target: what it is, the figure, the target, whether it is met."""
    runs = figures["runs"]
    rows = []
    for row, limit in (("a48", 2), ("a48_kv3", 3), (SHIPPED, 3)):
        value = _against(runs, row, "b158")
        rows.append([f"`{row}` against `b158`, perplexity", f"{value:+.2f} %",
                     f"at most +{limit} %", _verdict(value <= limit)])
    for row, run in runs.items():
        if "against_float_percent" in run:
            value = run["against_float_percent"]
            rows.append([f"`{row}` against `{run['float_row']}`, perplexity", f"{value:+.2f} %",
                         "within 0.5 %", _verdict(abs(value) <= 0.5)])
    down = 100 * figures["zeros"]["down"]
    return [*rows, ["zeros among the inputs of Wdown", f"{down:.1f} %", "at least 70 %",
                    _verdict(down >= 70)]]


def _seeds(runs: Json) -> str:
    """Perplexities of the rows that there is one of for each seed, and their mean."""
    ends = ["", *(name.removeprefix("b158") for name in runs if re.fullmatch(r"b158_\d+", name))]
    values = {row: [runs[row + end]["perplexity"] for end in ends] for row in SEEDED}
    base = values["b158"]
    rows = []
    for row in SEEDED:
        mean = fmean(values[row])
        cells = [f"{value:.3f} ({100 * (value / of - 1):+.2f})"
                 for value, of in zip([*values[row], mean], [*base, fmean(base)], strict=True)]
        rows.append([f"`{row}`", *cells])
    return _table(["row", *(f"seed {n}" for n in range(1, len(ends) + 1)), "mean"], rows)


def render(figures: Json) -> str:
    """Render the tables as Markdown."""
    runs = figures["runs"]

    def quality(names: Sequence[str]) -> str:
        return _table(
            ["row", "perplexity", "against `b158`", "bits a character"],
            [[f"`{n}`", f"{runs[n]['perplexity']:.3f}", f"{_against(runs, n, 'b158'):+.1f} %",
              f"{runs[n]['bits_per_character']:.3f}"] for n in names if n in runs])

    columns = ["qkv", "out", "up", "gate", "down"]
    sparsity = _table(
        ["row", *columns, "gate output", "active share"],
        [[f"`{row}`", *(f"{100 * figures['zeros' + suffix][c]:.1f}"
                        for c in (*columns, "gate_output")),
          f"{100 * figures['active_share' + suffix]:.1f}"]
         for row, suffix in sorted(ZEROS.items(), key=lambda item: list(runs).index(item[0]))])
    return "\n\n".join([
        "Targets:", _table(["figure", "found", "target", "met"], _targets(figures)),
        "Held-out perplexity a token (the paper's Table 1):", quality(TABLE_1),
        "Zeros among inputs, in % (Table 2):", sparsity,
        "Low-bit attention (Table 3; `a48` leaves K, V and Q unquantised):", quality(TABLE_3),
        "Every seed, in percent above its `b158`:", _seeds(runs)]) + "\n"


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
