# SPDX-License-Identifier: Apache-2.0
"""The folder of the shipped model: weights, tokenizer, training log, held-out tokens."""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from golden_model.weights import DecoderWeights
from host.train.config import TrainConfig
from host.train.data import Corpus
from host.train.pack import save_packed
from host.train.report import best_decoder, read_state, training_peak

__all__ = ["ship"]

PEAK_WINDOWS = 256
"""Training windows that the residual's range is taken from."""


def ship(config: TrainConfig, corpus: Corpus, work: Path, row: str, out: Path,
         windows: int, device: torch.device) -> DecoderWeights:
    """Write the folder `out` for evaluation `row`; the packed model.

    The held-out windows are spread evenly over the held-out books: ``tokens`` int32 [n, context].
    """
    run, scheme = config.evaluations[row]
    model, _ = best_decoder(config, work, run, device)
    peak = training_peak(config, corpus, model, scheme, PEAK_WINDOWS)
    out.mkdir(parents=True, exist_ok=True)
    weights = save_packed(out / "model.safetensors", model, scheme, peak)
    shutil.copyfile(work / "tokenizer.json", out / "tokenizer.json")
    chosen = np.linspace(0, len(corpus.held_out) - 1, min(windows, len(corpus.held_out)))
    tokens = corpus.held_out.numpy()[chosen.round().astype(int)].astype(np.int32)
    save_file({"tokens": np.ascontiguousarray(tokens)}, out / "heldout.safetensors")
    (out / "train.log").write_text("\n".join(_log(config, work)) + "\n")
    return weights


def _log(config: TrainConfig, work: Path) -> list[str]:
    """Concise log of every run: its evaluations during training."""
    lines = []
    for run, recipe in config.recipes.items():
        state = read_state(work, run)
        start = "" if recipe.trunk is None else f", the first of them those of {recipe.trunk}"
        kept = "" if recipe.ends < 1 else (
            f"; kept step {state['best_step']}, validation perplexity "
            f"{state['best_perplexity']:.3f}")
        lines.append(f"{run}: seed {recipe.seed}, {state['step']} steps of {recipe.batch} windows"
                     f"{start}, {state['seconds']:.0f} s beside other runs on {state['device']}, "
                     f"torch {state['torch']}{kept}")
        lines += [f"{run} step {step} stage {stage} loss {loss:.4f} validation perplexity "
                  f"{value:.3f}" for step, stage, loss, value in state["log"]]
    return lines
