# SPDX-License-Identifier: Apache-2.0
"""Cuts: every shape gets one that the kernels can run, and the measured ones stay as they are."""

import itertools

import pytest

from host.gpu.geometry import (
    BatchCut,
    ColumnCut,
    RowCut,
    batch_cut,
    column_cut,
    fused_cut,
    listed_cut,
    row_cut,
)
from host.gpu.packing import depth_of

ROWS = (1, 16, 17, 640, 2560, 13824, 128256)
COLUMNS = (1, 256, 257, 1536, 2560, 5460, 6912, 11008, 20000, 65536)


def test_the_shapes_that_were_measured_have_these_cuts():
    assert row_cut(13824, 10) == RowCut(10, 5)
    assert row_cut(2560, 27) == RowCut(27, 3)
    assert row_cut(10920, 8) == RowCut(4, 5, 2)
    assert fused_cut(2560, 27) == RowCut(7, 2)
    assert column_cut(2560, 6912) == ColumnCut(9, 12)


@pytest.mark.parametrize(("rows", "columns"), list(itertools.product(ROWS, COLUMNS)))
def test_every_shape_has_a_cut_that_fits(rows, columns):
    depth = depth_of(columns)
    for planes in (2, 5):
        cut = row_cut(rows, depth, planes)
        assert 1 <= cut.split <= depth
        assert cut.threads <= 1024
        assert cut.split * 4 * cut.span * 4 <= 48 * 1024
    assert listed_cut(depth).threads <= 1024
    cut = fused_cut(rows, depth)
    assert cut.groups == 1
    assert cut.span <= cut.threads + 32 <= 1024
    for tokens in (1, 2, 8, 9, 16):
        assert batch_cut(rows, depth, tokens).fits(tokens)
    assert 4 <= column_cut(rows, columns).warps <= 24


@pytest.mark.parametrize("make", [
    lambda: RowCut(0, 1), lambda: RowCut(33, 1), lambda: RowCut(16, 1, 3), lambda: BatchCut(33, 1),
    lambda: BatchCut(1, 0), lambda: ColumnCut(25, 8), lambda: ColumnCut(8, 0)])
def test_a_cut_that_no_block_can_have_is_refused(make):
    with pytest.raises(ValueError, match="no such cut"):
        make()


def test_a_cut_says_what_it_takes():
    assert (RowCut(10, 5, 2).span, RowCut(10, 5, 2).threads) == (160, 640)
    assert RowCut(10, 5).defines == {"SPLIT": 10, "TILES": 5, "GROUPS": 1, "RESIDENT": 1}
    assert BatchCut(27, 2).fits(8)
    assert not BatchCut(27, 2).fits(16)
