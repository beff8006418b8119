# SPDX-License-Identifier: Apache-2.0
"""What is measured on a decoder: perplexity, zeros ahead of each projection, active parameters."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from golden_model.arrays import Floats
from golden_model.config import ModelShape
from golden_model.decoder import Capture, Decoder

__all__ = ["active_share", "perplexity", "sqnr_db", "zero_shares"]


def perplexity(decoder: Decoder, windows: ArrayLike, batch: int = 4) -> float:
    """``exp`` of the mean negative log likelihood of tokens 1 to T - 1 of each window.

    Parameters
    ----------
    decoder
        Reference or exact; it is reset before every batch and left reset.
    windows
        Tokens [N, T], T at least 2, each starting with BOS.
    batch
        Windows run together; it changes speed and memory, not the result.
    """
    tokens = np.asarray(windows)
    if tokens.ndim != 2 or tokens.shape[1] < 2 or tokens.shape[0] == 0:
        raise ValueError(f"windows must be [N, T] with T at least 2, not {list(tokens.shape)}")
    total = 0.0
    for start in range(0, len(tokens), batch):
        part = tokens[start:start + batch]
        decoder.reset()
        logits = decoder.forward(part[:, :-1]) * decoder.logit_scale[..., None]
        peak = logits.max(axis=-1, keepdims=True)
        log_sum = peak[..., 0] + np.log(np.exp(logits - peak).sum(axis=-1))
        chosen = np.take_along_axis(logits, part[:, 1:, None], axis=-1)[..., 0]
        total += float((log_sum - chosen).sum())
    decoder.reset()
    return math.exp(total / tokens[:, 1:].size)


def zero_shares(capture: Capture) -> dict[str, float]:
    """Average zeros among the input codes of each projection (``wq`` to ``down``, ``head``)."""
    found: dict[str, list[float]] = {}
    for name, trace in capture.items():
        found.setdefault(name.rpartition(".")[2], []).append(float(np.mean(trace.codes == 0)))
    return {part: float(np.mean(shares)) for part, shares in found.items()}


def active_share(shape: ModelShape, zeros: Mapping[str, float]) -> float:
    """Count ternary parameters that meet an input other than zero: 1 less table 2's "Overall".

    Parameters
    ----------
    shape
        Whose projections the shares are of.
    zeros
        Share of skipped parameters of each projection, ``wq`` to ``down``.
    """
    used = sum(m * k * (1 - zeros[part]) for part, (m, k) in shape.projections.items())
    return used / sum(m * k for m, k in shape.projections.values())


def sqnr_db(reference: Floats, approximation: Floats) -> float:
    """Signal to quantisation noise ratio of an approximation, in dB; infinite if it is equal."""
    noise = float(np.sum(np.square(reference - approximation)))
    signal = float(np.sum(np.square(reference)))
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
