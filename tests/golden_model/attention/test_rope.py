# SPDX-License-Identifier: Apache-2.0
"""RoPE: pairing, tables, saturation, distance from the real rotation."""

import math

import numpy as np
import pytest

from golden_model.attention.rope import angles, extra_bits, rope, rope_float, rope_tables
from golden_model.evaluate import sqnr_db


def test_half_split_pairing():
    """Element 0 turns with element n / 2, by one radian a position."""
    turn = angles(3, 4, 10_000.0)
    assert turn[2].tolist() == pytest.approx([2.0, 0.02])
    x = np.array([1.0, 0.0, 0.0, 0.0])
    assert rope_float(x, turn[1]).tolist() == pytest.approx([math.cos(1), 0, math.sin(1), 0])


def test_interleaved_pairing_would_differ():
    """Negative control: the other usual pairing gives something else."""
    x, turn = np.array([1.0, 2.0, 3.0, 4.0]), angles(2, 4, 10_000.0)[1]
    a, b = x[0::2], x[1::2]
    other = np.stack([a * np.cos(turn) - b * np.sin(turn), b * np.cos(turn) + a * np.sin(turn)], -1)
    assert not np.allclose(other.reshape(-1), rope_float(x, turn))


def test_table_literals():
    cos, sin = rope_tables(2, 4, 10_000.0)
    assert cos.tolist() == [[16384, 16384], [8852, 16383]]
    assert sin.tolist() == [[0, 0], [13787, 164]]


@pytest.mark.parametrize("extra", [2, 6])
def test_position_zero_only_shifts(extra):
    cos, sin = rope_tables(1, 8, 10_000.0)
    x = np.arange(-4, 4)
    assert rope(x, cos[0], sin[0], extra).tolist() == (x << extra).tolist()


@pytest.mark.parametrize("sign", [-1, 1])
def test_saturates_at_a_word(sign):
    cos, sin = rope_tables(1, 2, 10_000.0)
    x = np.array([sign * 2 ** 18, sign])
    expected = 2 ** 23 - 1 if sign > 0 else -2 ** 23
    assert rope(x, cos[0], sin[0], 6).tolist() == [expected, sign * 64]


@pytest.mark.parametrize(("act_format", "size"), [("int4", 60), ("fp4", 90), ("int8", 1500)])
def test_close_to_the_real_rotation(act_format, size):
    rng = np.random.default_rng(2)
    x = np.rint(rng.normal(0, size, (64, 3, 32))).astype(np.int64)
    cos, sin = rope_tables(64, 32, 10_000.0)
    extra = extra_bits(act_format)
    turned = rope(x, cos[:, None], sin[:, None], extra) / 2 ** extra
    reference = rope_float(x.astype(float), angles(64, 32, 10_000.0)[:, None])
    assert sqnr_db(reference, turned) > 75
