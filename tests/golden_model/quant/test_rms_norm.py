# SPDX-License-Identifier: Apache-2.0
"""Fused RMSNorm against the real one."""

import numpy as np
import pytest

from golden_model import smallfloat as sf
from golden_model.evaluate import sqnr_db
from golden_model.quant.rms_norm import fix_norm, rms_norm, rms_norm_float

EPS = 1e-5


def normed(x, frac, gain):
    y, unit = rms_norm(x, np.full(x.shape[:-1], 2.0 ** -frac), fix_norm(gain, EPS))
    return y * unit[..., None]


@pytest.mark.parametrize("n", [1, 2, 7, 128, 1000])
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_close_to_the_real_norm(n, size):
    rng = np.random.default_rng(n)
    x = np.rint(rng.normal(0, size, (5, n)) * 2 ** 16).astype(np.int64)
    gain = rng.uniform(0.2, 2, n)
    reference = rms_norm_float(x / 2 ** 16, gain, EPS)
    assert sqnr_db(reference, normed(x, 16, gain)) > 65


def test_eps_matters_for_small_inputs():
    """Negative control: leaving eps out is far outside the bound above."""
    x = np.rint(np.random.default_rng(1).normal(0, 1e-3, (5, 64)) * 2 ** 16).astype(np.int64)
    without = rms_norm_float(x / 2 ** 16, np.ones(64), 0)
    assert sqnr_db(without, normed(x, 16, np.ones(64))) < 20


@pytest.mark.parametrize("word", [-2 ** 23, 2 ** 23 - 1])
def test_largest_words_do_not_overflow(word):
    x = np.full((1, 2 ** 14), word)
    assert normed(x, 0, np.ones(2 ** 14)) == pytest.approx(np.sign(word), rel=1e-4)


def test_zero_vector_stays_zero():
    assert not normed(np.zeros((2, 8), np.int64), 16, np.ones(8)).any()


@pytest.mark.parametrize(("gain", "codes"), [
    ([1.0, -1.0, 0.5], [2047, -2047, 1024]), ([0.0, 0.0], [0, 0]), ([-3e-3], [-2047]),
])
def test_gain_codes(gain, codes):
    norm = fix_norm(np.array(gain), EPS)
    assert norm.gain.tolist() == codes
    unit = norm.scale / len(gain) ** 0.5
    assert norm.gain * unit == pytest.approx(gain, abs=max(map(abs, gain)) / 2047)
    assert norm.eps == sf.from_float(EPS * len(gain))
