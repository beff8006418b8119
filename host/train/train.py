# SPDX-License-Identifier: Apache-2.0
"""The training loop: seeded, resumable, checkpoints written atomically."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from host.train.config import TrainConfig
from host.train.evaluate import perplexity
from host.train.model import Decoder
from host.train.step import TrainingStep, build_optimizer

__all__ = ["CheckpointError", "Job", "train"]

log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint that belongs to another configuration."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to train.

    ``text`` int64 [n] are the training tokens, ``validation`` int64 [windows, context] choose the
    checkpoint to keep.  ``stop_after`` ends the session, not the run, at that step.  A run with a
    trunk looks for that one's checkpoint beside its own.
    """

    config: TrainConfig
    run: str
    text: Tensor
    validation: Tensor
    checkpoint: Path
    device: torch.device
    accelerate: bool = True
    stop_after: int | None = None
    progress: Callable[[int, float], None] = lambda step, loss: None


def _offsets(seed: int, step: int, batch: int, limit: int) -> Tensor:
    """Draw where the windows of `step` start, from seed and step alone: a resumed run agrees."""
    return torch.from_numpy(np.random.default_rng([seed, step]).integers(0, limit, batch))


def _save(path: Path, state: dict[str, Any]) -> None:
    """Write beside the destination, then rename: a crash leaves the old checkpoint whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    partial.replace(path)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def train(job: Job) -> dict[str, Any]:
    """Train or resume one run; the last checkpoint's state.

    The state holds ``step``, ``model``, ``optimizer``, ``best`` (the weights of the best validation
    perplexity of the last stage), ``best_perplexity``, ``best_step``, ``log`` (one entry an
    evaluation), ``seconds``, ``device``, ``torch``, ``random`` and the configuration's ``digest``.

    Raises
    ------
    CheckpointError
        The checkpoint was made with another configuration, or its trunk's is missing.
    """
    recipe = job.config.recipes[job.run]
    torch.manual_seed(recipe.seed)
    model = Decoder(job.config.shape, recipe.dropout).to(job.device)
    optimizer = build_optimizer(model, recipe)
    state: dict[str, Any] = {"step": 0, "digest": job.config.digest(job.run), "best": None,
                             "best_perplexity": float("inf"), "best_step": 0, "log": [],
                             "seconds": 0.0, "device": _device_name(job.device),
                             "torch": str(torch.__version__)}
    if job.checkpoint.exists():
        state = _load(job, model, optimizer, state["digest"])
    elif recipe.trunk is not None:
        state["step"] = _branch_off(job, recipe.trunk, model, optimizer)
    text = job.text.to(job.device)
    validation = job.validation.to(job.device)
    limit = len(text) - job.config.shape.context
    last = min(recipe.last, job.stop_after or recipe.last)
    stage, step_fn, loss = -1, None, torch.zeros(())
    started = time.monotonic()
    for step in range(state["step"], last):
        if step_fn is None or recipe.stage(step) != stage:
            stage = recipe.stage(step)
            model.train()
            step_fn = TrainingStep(model, optimizer, text, recipe, recipe.stages[stage],
                                   job.accelerate)
        loss = step_fn(_offsets(recipe.seed, step, recipe.batch, limit), recipe.lr(step))
        done = step + 1
        if done % recipe.evaluate_every == 0 or done == last:
            state["step"] = done
            _evaluate(job, model, state, stage, float(loss), validation)
            state["seconds"] += time.monotonic() - started
            started = time.monotonic()
            state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                      "random": _random_state(job.device)}
            _save(job.checkpoint, state)
            job.progress(done, float(loss))
    return state


def _load(job: Job, model: Decoder, optimizer: torch.optim.AdamW, digest: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(job.checkpoint, map_location=job.device, weights_only=True)
    if state["digest"] != digest:
        raise CheckpointError(f"{job.checkpoint} was made with another configuration: remove it "
                              "or give back the old one")
    _restore(state, model, optimizer, job.device)
    return state


def _branch_off(job: Job, run: str, model: Decoder, optimizer: torch.optim.AdamW) -> int:
    """Load weights, optimiser and random state that trunk `run` ended with; its last step.

    Raises
    ------
    CheckpointError
        The trunk has no finished checkpoint of this configuration.
    """
    path = job.checkpoint.with_name(f"{run}.pt")
    if not path.exists():
        raise CheckpointError(f"{path} is missing: train {run!r} ahead of {job.run!r}")
    state: dict[str, Any] = torch.load(path, map_location=job.device, weights_only=True)
    last = job.config.recipes[run].last
    if state["digest"] != job.config.digest(run) or state["step"] < last:
        raise CheckpointError(f"{path} is not a finished run of this configuration")
    _restore(state, model, optimizer, job.device)
    return last


def _restore(state: dict[str, Any], model: Decoder, optimizer: torch.optim.AdamW,
             device: torch.device) -> None:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    _restore_random_state(state["random"], device)


def _evaluate(job: Job, model: Decoder, state: dict[str, Any], stage: int, loss: float,
              validation: Tensor) -> None:
    """Measure validation perplexity under the stage's scheme; keep the best of the last stage."""
    recipe = job.config.recipes[job.run]
    result = perplexity(model, validation, recipe.stages[stage].scheme)
    state["log"].append([state["step"], stage + 1, loss, result.perplexity])
    log.info("%s step %d stage %d loss %.4f validation perplexity %.3f", job.run, state["step"],
             stage + 1, loss, result.perplexity)
    if stage == len(recipe.stages) - 1 and result.perplexity < state["best_perplexity"]:
        state["best_perplexity"], state["best_step"] = result.perplexity, state["step"]
        state["best"] = {name: value.detach().cpu().clone()
                         for name, value in model.state_dict().items()}
