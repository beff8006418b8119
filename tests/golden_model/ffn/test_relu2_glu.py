# SPDX-License-Identifier: Apache-2.0
"""ReLU^2 GLU in integers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model import smallfloat as sf
from golden_model.evaluate import sqnr_db
from golden_model.ffn.relu2_glu import check_widths, relu2_glu, relu2_glu_float


@given(st.integers(1, 2 ** 17), st.data())
def test_words_follow_the_definition_and_never_saturate(peak, data):
    sums = st.lists(st.integers(-peak, peak), min_size=3, max_size=3)
    gate, up = data.draw(sums), data.draw(sums)
    words, scale = relu2_glu(np.array([gate]), np.array([up]), np.ones(1), np.ones(1), peak)
    top = max(0, *gate)
    by = max(0, 2 * top.bit_length() + peak.bit_length() - 23)
    expected = [round(Fraction(max(g, 0) ** 2 * u, 2 ** by))
                for g, u in zip(gate, up, strict=True)]
    assert words[0].tolist() == expected
    assert all(abs(h) < 2 ** 23 for h in expected)
    assert scale[0] == 2.0 ** by


@pytest.mark.parametrize("peak", [1, 8 * 128, 8 * 8640, 12 * 8640, 2 ** 20])
def test_extremes(peak):
    gate = np.array([[peak, peak, -peak, 0]])
    up = np.array([[peak, -peak, peak, peak]])
    words, scale = relu2_glu(gate, up, np.ones(1), np.ones(1), peak)
    assert (words[0] * scale[0]).tolist() == pytest.approx([peak ** 3, -peak ** 3, 0, 0], rel=1e-5)


def test_close_to_the_real_product():
    rng = np.random.default_rng(3)
    gate, up = rng.integers(-400, 400, (2, 6, 384))
    s = sf.from_float(np.full(6, 0.0123))
    words, scale = relu2_glu(gate, up, s, s, 1024)
    reference = relu2_glu_float(gate * s[:, None], up * s[:, None])
    assert sqnr_db(reference, words * scale[:, None]) > 75


def test_widths_that_overflow_are_refused():
    check_widths(1 << 20)
    with pytest.raises(ValueError, match="1048577"):
        check_widths((1 << 20) + 1)
