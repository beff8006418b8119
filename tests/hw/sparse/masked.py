# SPDX-License-Identifier: Apache-2.0
"""Vectors for the masked product: every shape of zeros, and a model's own."""

import numpy as np

from golden_model import smallfloat
from golden_model.quant.rms_norm import fix_norm
from golden_model.sparse.masked_linear import MaskedVector
from sim.masked_jobs import MaskedJob, Recording
from tests.hw.quant.tokens import PEAK

__all__ = ["captured", "patterns"]


def patterns(config, seed):
    """Yield vectors of every shape of zeros, with and without norm and selection.

    Their columns are short, or long enough to hold the words up.
    """
    rng = np.random.default_rng(seed)
    n, width = config.max_n, config.width
    index = np.arange(n)
    masks = [index >= 0, rng.random(n) < 0.3, index % 2 == 0, index < 0, index == n - 1,
             index < n // 3, rng.random(n) < 0.05]
    for number, mask in enumerate(masks):
        size = n if number != 2 else 1 + n // 2
        x = np.clip(np.rint(rng.normal(0, 1 << 14, n)), -PEAK, PEAK - 1).astype(np.int64) * mask
        norm = fix_norm(rng.normal(1, 0.4, size), 1e-5) if number % 3 else None
        for turn, keep in enumerate([None, (1, 2), (3, 7)]):
            height = [config.max_m, width, 2 * width - 1][(number + turn) % 3]
            in_blocks = config.block_size if turn == 2 and number % 2 else 0
            yield MaskedJob(MaskedVector(x[:size], np.float64(2.0 ** -12), norm, keep, in_blocks,
                                         "fp4" if number == 5 else "int8"),
                            rng.integers(-1, 2, (height, size), dtype=np.int8),
                            float(smallfloat.from_float(0.01 * (number + 1))))
    # The largest code at every channel; a scale that saturates; one element.
    yield MaskedJob(MaskedVector(np.full(n, -PEAK), np.float64(smallfloat.LARGEST)),
                    np.full((config.max_m, n), -1, np.int8), 3.0)
    for keep in (None, (1, 1), (0, 1)):
        yield MaskedJob(MaskedVector(np.array([-77]), np.float64(1.0), None, keep),
                        np.ones((width, 1), np.int8))


def captured(weights, numerics, tokens):
    """Yield the last token's Wo and Wdown of each layer: the job, and the sums that came of it."""
    decoder = Recording(weights, tokens, numerics)
    for layer in range(weights.shape.layers):
        for part in ("wo", "down"):
            got = decoder.capture[f"layers.{layer}.{part}"]
            yield decoder.job(layer, part, -1), got.sums[-1], got.out_scale[-1]
