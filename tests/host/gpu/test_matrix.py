# SPDX-License-Identifier: Apache-2.0
"""Products on the GPU against the exact model's, over poisoned memory."""

import numpy as np
import pytest

from golden_model.linear import Linear
from host.gpu.geometry import BatchCut, ColumnCut, RowCut
from host.gpu.matrix import BatchProduct, ColumnProduct, ListedProduct, RowProduct
from host.gpu.packing import pack_codes, pack_columns, pack_entries, pack_levels, pack_rows
from host.gpu.runtime import KERNELS, Offset

POISON = -0x5A5A5A5B
SHAPES = [(1, 1), (2, 3), (15, 255), (16, 256), (17, 257), (100, 1000), (2560, 2560), (250, 6912),
          (300, 5460), (64, 11008), (33, 20000)]


def weights(kind, rows, columns, peak=1):
    rng = np.random.default_rng(rows * columns)
    return {"random": rng.integers(-peak, peak + 1, (rows, columns), np.int8),
            "zero": np.zeros((rows, columns), np.int8),
            "most": np.full((rows, columns), peak, np.int8),
            "least": np.full((rows, columns), -peak, np.int8)}[kind]


def codes(kind, tokens, columns):
    rng = np.random.default_rng(tokens + columns)
    return {"random": rng.integers(-128, 128, (tokens, columns)).astype(np.int8),
            "most": np.full((tokens, columns), 127, np.int8),
            "least": np.full((tokens, columns), -128, np.int8)}[kind]


def multiply(gpu, product, packed, x):
    """Run a product on codes with garbage behind them, into garbage."""
    padded = np.full(product.x_shape, 0x55, np.int8)
    padded[:, :x.shape[1]] = x
    y = gpu.empty(product.y_shape, np.int32).fill(0xA5)
    product(gpu.array(packed), gpu.array(padded), y)
    return y.get()


@pytest.mark.parametrize("tokens", [0, 17])
@pytest.mark.parametrize("product", [RowProduct, BatchProduct])
def test_so_many_vectors_are_refused(product, tokens):
    with pytest.raises(ValueError, match=r"tokens must lie in 1\.\.16"):
        product(None, 4, 4, tokens)


@pytest.mark.parametrize("kind", ["random", "zero", "most", "least"])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_vector(gpu, shape, kind):
    trits, product = weights(kind, *shape), RowProduct(gpu, *shape)
    for code in ("random", "most", "least"):
        x = codes(code, 1, shape[1])
        assert np.array_equal(multiply(gpu, product, pack_rows(trits), x),
                              Linear(trits, 1, 128)(x))


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 8, 9, 16])
@pytest.mark.parametrize("shape", [(1, 1), (17, 257), (300, 1000), (2560, 2560), (250, 6912)])
def test_several_vectors(gpu, shape, tokens):
    for kind in ("random", "most", "least"):
        trits = weights(kind, *shape)
        for code in ("random", "least"):
            x = codes(code, tokens, shape[1])
            want = Linear(trits, 1, 128)(x)
            for product, pack in ((BatchProduct, pack_codes), (RowProduct, pack_rows)):
                assert np.array_equal(
                    multiply(gpu, product(gpu, *shape, tokens), pack(trits), x), want)


@pytest.mark.parametrize("kind", ["random", "zero", "most", "least"])
@pytest.mark.parametrize("shape", [(1, 1), (50, 300), (1001, 2560)])
def test_levels(gpu, shape, kind):
    levels, product = weights(kind, *shape, 13), RowProduct(gpu, *shape, levels=True)
    for code in ("random", "most", "least"):
        x = codes(code, 1, shape[1])
        assert np.array_equal(multiply(gpu, product, pack_levels(levels), x),
                              Linear(levels, 13, 128)(x))


@pytest.mark.parametrize("cut", [RowCut(1, 1), RowCut(3, 2, 2), RowCut(10, 3), RowCut(7, 1, 2, 2)])
def test_any_cut_of_rows_gives_the_same(gpu, cut):
    trits, x = weights("random", 333, 2560), codes("random", 1, 2560)
    assert np.array_equal(multiply(gpu, RowProduct(gpu, 333, 2560, cut=cut), pack_rows(trits), x),
                          Linear(trits, 1, 128)(x))


@pytest.mark.parametrize("cut", [BatchCut(1, 1), BatchCut(3, 2), BatchCut(20, 1)])
def test_any_cut_of_codes_gives_the_same(gpu, cut):
    trits, x = weights("random", 333, 2560), codes("random", 7, 2560)
    product = BatchProduct(gpu, 333, 2560, 7, cut)
    assert np.array_equal(multiply(gpu, product, pack_codes(trits), x), Linear(trits, 1, 128)(x))


@pytest.mark.parametrize("shape", [(1, 1), (50, 300), (1000, 2560), (6912, 2560)])
def test_listed_rows_alone_are_written(gpu, shape):
    rows, columns = shape
    trits, product, rng = weights("random", *shape), ListedProduct(gpu, *shape), \
        np.random.default_rng(3)
    x = codes("random", 1, columns)
    sums = Linear(trits, 1, 128)(x)[0]
    for count in sorted({0, 1, rows // 2, rows}):
        chosen = np.sort(rng.permutation(rows)[:count])
        listed = np.full(rows, 1 << 30, np.int32)          # what lies behind the list is no row
        listed[:count] = chosen
        padded = np.zeros(product.x_shape, np.int8)
        padded[:, :columns] = x
        y = gpu.empty(product.y_shape, np.int32).fill(0xA5)
        product(gpu.array(pack_rows(trits)), gpu.array(padded), y, gpu.array(listed),
                gpu.array(np.array([count], np.int32)))
        want = np.full(rows, POISON)
        want[chosen] = sums[chosen]
        assert np.array_equal(y.get()[0], want)


@pytest.mark.parametrize("cut", [None, ColumnCut(1, 1), ColumnCut(4, 2), ColumnCut(7, 4)])
@pytest.mark.parametrize("shape", [(1, 1), (17, 5), (300, 1000), (2560, 6912)])
def test_kept_columns(gpu, shape, cut):
    rows, columns = shape
    rng = np.random.default_rng(4)
    products = [ColumnProduct(gpu, *shape, cut, adds=adds) for adds in (False, True)]
    for kind in ("random", "most", "least"):
        trits = weights(kind, *shape)
        packed = gpu.array(pack_columns(trits))
        for share in (0.0, 0.01, 0.5, 1.0):
            for code in ("random", "most", "least"):
                x = codes(code, 1, columns)[0]
                x[rng.random(columns) >= share] = 0
                entries = pack_entries(x)
                listed = np.full(columns + 4, 0x7F000000, np.uint32)   # behind the list: garbage
                listed[:entries.size] = entries
                y = gpu.empty(rows, np.int32).fill(0xA5)
                count = gpu.array(np.array([entries.size], np.int32))
                want = Linear(trits, 1, 128)(x)
                for product in products:                        # the second adds to the first
                    product(packed, gpu.array(listed), count, y)
                    assert np.array_equal(y.get(), want * (2 if product.adds else 1))


def test_a_chain_of_launches_sees_what_those_ahead_wrote(gpu):
    """Each vector is copied in, multiplied and copied out, through the same two buffers."""
    turns, rows, columns = 40, 128, 1024
    trits = weights("random", rows, columns)
    product, copy = RowProduct(gpu, rows, columns), gpu.kernel(KERNELS / "probe.cu",
                                                              "dependent_copy")
    vectors = np.random.default_rng(9).integers(-128, 128, (turns, columns)).astype(np.int8)
    words, source = gpu.array(pack_rows(trits)), gpu.array(vectors)
    x, y = gpu.zeros(product.x_shape, np.int8), gpu.zeros(product.y_shape, np.int32)
    out = gpu.empty((turns, rows), np.int32).fill(0xA5)
    with gpu.capture() as capture:
        for i in range(turns):
            copy(1, columns // 16, Offset(source, i * columns), x, dependent=True)
            product(words, x, y)
            copy(1, rows // 4, y, Offset(out, i * rows * 4), dependent=True)
    for _ in range(20):
        out.fill(0xA5)
        capture.graph.replay()
        assert np.array_equal(out.get(), Linear(trits, 1, 128)(vectors))
