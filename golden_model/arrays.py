# SPDX-License-Identifier: Apache-2.0
"""Array types that the models share."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bools", "Codes", "Floats", "Ints"]

Bools = NDArray[np.bool_]
Codes = NDArray[np.int8]
"""Quantised activations, trits, embedding codes."""
Floats = NDArray[np.float64]
"""Real numbers in the reference, small floats (:mod:`golden_model.smallfloat`) in `exact`."""
Ints = NDArray[np.int64]
