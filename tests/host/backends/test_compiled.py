# SPDX-License-Identifier: Apache-2.0
"""Compiled products give the integers of the golden model's."""

import numpy as np
import pytest

from golden_model.exact import ExactDecoder
from golden_model.linear import Linear
from host.backends import compiled
from host.backends.cpu import CpuBackend
from tests.host.link.harness import SHAPE, WEIGHTS

pytest.importorskip("numba")


@pytest.mark.parametrize("tokens", [1, 2, compiled.MANY - 1, compiled.MANY, 40])
@pytest.mark.parametrize(("weight_peak", "code_peak", "shape"), [
    (1, 8, (5, 7)), (1, 128, (33, 130)), (13, 128, (17, 1029)), (13, 128, (1, 1))])
def test_sums_are_the_golden_models(tokens, weight_peak, code_peak, shape):
    rng = np.random.default_rng(7)
    matrix = rng.integers(-weight_peak, weight_peak + 1, shape).astype(np.int8)
    codes = rng.integers(-code_peak, code_peak, (2, tokens, shape[1]))
    wanted = Linear(matrix, weight_peak, code_peak)(codes)
    assert np.array_equal(compiled.CompiledLinear(matrix, weight_peak, code_peak)(codes), wanted)


def test_the_largest_sums():
    matrix = np.full((3, 9000), 13, np.int8)
    codes = np.full((1, 9000), -128)
    sums = compiled.CompiledLinear(matrix, 13, 128)(codes)
    assert sums.tolist() == [[-13 * 128 * 9000] * 3]


@pytest.mark.parametrize(("length", "weight_peak", "code_peak"), [
    (1 << 24, 1, 128), (1, 128, 1), (1, 1, 1 << 15)])
def test_what_does_not_fit_is_refused(length, weight_peak, code_peak):
    matrix = np.broadcast_to(np.int8(1), (1, length))
    with pytest.raises(ValueError, match="exceeds 32 bits"):
        compiled.CompiledLinear(matrix, weight_peak, code_peak)


def test_a_text_is_the_exact_decoders(monkeypatch):
    decoder = compiled.CompiledDecoder(WEIGHTS)
    assert np.array_equal(decoder.forward([0, 4, 9]), ExactDecoder(WEIGHTS).forward([0, 4, 9]))

    made = []
    monkeypatch.setattr(compiled.CompiledDecoder, "reset", lambda self: made.append(self))
    for limit, wanted in ((1, 1), (1 << 20, 0)):
        monkeypatch.setattr(compiled, "LARGE", limit)
        made.clear()
        CpuBackend().load(WEIGHTS, SHAPE.context)
        assert bool(made) == bool(wanted)
