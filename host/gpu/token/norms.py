# SPDX-License-Identifier: Apache-2.0
"""Launches of norm and quantiser that are no part of a product."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from golden_model.attention.attend import AttentionWidths
from host.gpu.runtime import Array, Kernel
from host.gpu.token.model import FORMATS, Norm, kept, levels_of

if TYPE_CHECKING:
    from host.gpu.token.launches import Launches

__all__ = ["ADD", "EMBED", "GLU", "JOIN", "NormLaunch", "join_norm", "norm_launch"]

SOURCE = Path(__file__).parent / "norm.cu"
EMBED, ADD, JOIN, GLU = range(4)
MOST_RANKS = 8
"""Blocks of a cluster that every device of this kind takes."""
NORM_SHARE, NORM_THREADS = 256, 512
"""Least elements of a block, most threads."""


@dataclass(frozen=True)
class NormLaunch:
    """One kind of norm, ready to launch."""

    owner: "Launches"
    kernel: Kernel
    n: int
    threads: int
    ranks: int
    levels: np.uint32
    entries: Array
    count: Array

    def __call__(self, source: Array, in_scale: Array, alpha: np.uint32, beta: np.uint32,
                 norm: Norm, out_scale: Array) -> None:
        """Launch."""
        owner = self.owner
        self.kernel(self.ranks, self.threads, source, owner.residual, in_scale, alpha, beta,
                    norm.gains, norm.scale, norm.eps, self.levels, owner.codes[self.n], out_scale,
                    owner.tokens, owner.position, self.entries, self.count, dependent=True,
                    cluster=self.ranks)


def norm_launch(owner: "Launches", n: int, source: int, fmt: str, entries: Array, count: Array,
                **more: int) -> NormLaunch:
    """Make the launch for `n` words from a source to codes of a format."""
    ranks = min(MOST_RANKS, -(-n // NORM_SHARE))
    per = -(-n // (ranks * NORM_THREADS))
    defines = {"N": n, "SOURCE": source, "FORMAT": FORMATS[fmt], "RANKS": ranks,
               "THREADS": -(-n // (ranks * per * 32)) * 32,
               "FRACTION": owner.weights.residual_frac, "KEEP": -1, "BLOCK": n, "LAST": 0,
               "BY_VALUE": 0, "LIST": 0, "HEADS": 1, "HEAD_DIM": 1, "JOIN_PLACES": 0,
               "BOUND_BITS": 0} | more
    return NormLaunch(owner, owner.device.kernel(SOURCE, "fused_norm", defines), n,
                      defines["THREADS"], ranks, levels_of(fmt, n), entries, count)


def join_norm(owner: "Launches", entries: Array, count: Array, *, listed: bool) -> NormLaunch:
    """Make the launch behind attention."""
    shape, numerics = owner.weights.shape, owner.weights.numerics
    return norm_launch(
        owner, shape.q_dim, JOIN, numerics.wo_format, entries, count, HEADS=shape.heads,
        HEAD_DIM=shape.head_dim, BY_VALUE=int(numerics.topk_key == "value"), LIST=int(listed),
        JOIN_PLACES=AttentionWidths.of(shape, numerics).output_shift, **kept(shape, numerics))
