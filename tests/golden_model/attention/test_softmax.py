# SPDX-License-Identifier: Apache-2.0
"""Integer powers of two."""

import numpy as np
import pytest

from golden_model.attention.softmax import EXP2_TABLE, exp2_weights


@pytest.mark.parametrize(("distance", "weight"), [
    (0, 32768), (1, 32679), (128, 23170), (255, 16428), (256, 16384), (15 * 256, 1),
    (14 * 256 + 128, 1), (15 * 256 + 1, 1), (16 * 256 - 1, 1), (16 * 256, 0), (1 << 24, 0),
])
def test_literals(distance, weight):
    """One half, at a distance of 16 octaves, is a tie and goes to zero."""
    assert exp2_weights(np.array([distance])).tolist() == [weight]


def test_within_rounding_of_the_real_power():
    d = np.arange(4096)
    assert np.abs(exp2_weights(d) - 2.0 ** (15 - d / 256)).max() <= 0.75
    assert (np.diff(exp2_weights(d)) <= 0).all()


def test_table():
    assert EXP2_TABLE.shape == (256,)
    assert EXP2_TABLE.max() == 1 << 15
    assert EXP2_TABLE.min() == 16428
