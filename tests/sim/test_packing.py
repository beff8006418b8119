# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.config import ArrayConfig
from hw.mac import layouts
from sim.packing import fields, from_bytes, lanes, pack, to_lanes


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (3, 5), (8, 4), (7, 24), (64, 5)])
def test_lanes_are_what_the_layout_packs(count, bits):
    config = ArrayConfig(rows=count, lanes=1, max_k=1, acc_bits=max(bits, 10))
    values = np.random.default_rng(1).integers(-(1 << bits - 1), 1 << bits - 1, (20, count))
    layout = layouts.result(config)
    words = lanes(values, config.acc_bits)
    assert words == [pack(layout, {"sums": row, "last": 0}) for row in values.tolist()]
    assert to_lanes(words, count, config.acc_bits).tolist() == values.tolist()
    assert [fields(layout, words[0]).sums[n] for n in range(count)] == values[0].tolist()


def test_higher_bits_are_ignored():
    assert to_lanes([0b1_01_11], 2, 2).tolist() == [[-1, 1]]


def test_bytes_are_little_endian():
    assert from_bytes([[1, 2], [255, 0]]) == [0x0201, 0xFF]


def test_integers_pass_through():
    assert pack(None, 5) == 5
