# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.histogram_select`: the threshold of the K largest."""

import numpy as np

from golden_model.arrays import Ints

__all__ = ["select"]


def select(magnitudes: Ints, keep: int) -> tuple[int, int]:
    """Threshold, and how many of the magnitudes [n] that equal it are kept, less one.

    For `keep` = 0 the threshold is 128, the largest magnitude there can be, and nothing that equals
    it is kept.
    """
    if keep == 0:
        return 128, -1
    threshold = int(np.sort(magnitudes)[::-1][keep - 1])
    return threshold, keep - 1 - int((magnitudes > threshold).sum())
