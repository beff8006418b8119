# SPDX-License-Identifier: Apache-2.0
"""The kernels' arithmetic, compiled for this machine, against the golden model's, ``==``."""

import ctypes
import math

import numpy as np
import pytest

from golden_model import smallfloat as sf
from golden_model.attention.attend import AttentionWidths, _join_heads
from golden_model.attention.rope import rope
from golden_model.attention.softmax import EXP2_TABLE, exp2_weights
from golden_model.config import ModelShape, Numerics
from golden_model.ffn.relu2_glu import relu2_glu
from golden_model.formats import decode_kv_scale, encode_kv_scale, round_shift
from golden_model.kv.row_code import quantize_row
from golden_model.quant.activations import quantize
from golden_model.quant.rms_norm import FixedNorm, rms_norm
from tests.host.gpu.token.emulated import SOURCES, build, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no g++ on this machine")
RNG = np.random.default_rng(11)
COUNT = 20_000


class Arithmetic:
    """Functions by name; arrays of int64 or uint32 in, one array out."""

    def __init__(self, library):
        self.library = library

    def __getattr__(self, name):
        def call(kind, *arguments):
            arrays = [np.ascontiguousarray(each) for each in arguments if np.ndim(each)]
            out = np.empty(arrays[0].size, kind)
            passed, held = [], iter(arrays)
            for each in arguments:
                if np.ndim(each):
                    passed.append(ctypes.c_void_p(next(held).ctypes.data))
                elif isinstance(each, np.uint32):
                    passed.append(ctypes.c_uint32(int(each)))
                else:
                    passed.append(ctypes.c_int64(int(each)))
            getattr(self.library, f"t_{name}")(ctypes.c_int(out.size), *passed,
                                               ctypes.c_void_p(out.ctypes.data))
            return out
        return call


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arithmetic")
    return Arithmetic(build('#include "arithmetic.h"\n', "arithmetic", folder))


def small_floats(count=COUNT, low=-128, high=127):
    """Random ones, then every pair of a few extreme ones."""
    mantissas = RNG.integers(1 << 15, 1 << 16, count)
    ends = [1 << 15, (1 << 15) + 1, 0xFFFF, 0xFFFE, 0xC000]
    mantissas[::7] = RNG.choice(ends, mantissas[::7].size)
    exponents = RNG.integers(low, high + 1, count)
    zero = RNG.random(count) < 0.03
    return sf.join(np.where(zero, 0, mantissas), np.where(zero, 0, exponents))


def corners():
    pairs = sf.join([0, 1 << 15, 1 << 15, 0xFFFF, 0xFFFF, 1 << 15, 43691, 0xFFFF],
                    [0, -128, 127, 127, -128, -15, -17, -16])
    a, b = np.meshgrid(pairs, pairs)
    return a.reshape(-1), b.reshape(-1)


def integers(bits, count=COUNT):
    """Of every magnitude, both signs, with the ends."""
    wide = RNG.integers(0, 1 << 62, count) >> RNG.integers(62 - bits, 62, count)
    out = wide * RNG.choice([-1, 1], count)
    out[:4] = [0, (1 << bits) - 1, -((1 << bits) - 1), 1]
    return out


@pytest.mark.parametrize("name", ["mul", "div", "add"])
@pytest.mark.parametrize(("low", "high"), [(-128, 127), (-30, 5)])
def test_small_floats(gpu, name, low, high):
    a, b = small_floats(low=low, high=high), small_floats(low=low, high=high)
    extra_a, extra_b = corners()
    a, b = np.concatenate([a, extra_a]), np.concatenate([b, extra_b])
    found = getattr(gpu, name)(np.uint32, sf.to_bits(a), sf.to_bits(b))
    assert np.array_equal(found, sf.to_bits(getattr(sf, name)(a, b)))


def test_sums_of_near_small_floats(gpu):
    a = small_floats(low=-20, high=-20)
    b = sf.shift(small_floats(low=0, high=0), -RNG.integers(0, 45, COUNT))
    found = gpu.add(np.uint32, sf.to_bits(a), sf.to_bits(b))
    assert np.array_equal(found, sf.to_bits(sf.add(a, b)))


def test_roots_shifts_and_integers(gpu):
    a = np.concatenate([small_floats(), corners()[0]])
    assert np.array_equal(gpu.sqrt(np.uint32, sf.to_bits(a)), sf.to_bits(sf.sqrt(a)))
    by = RNG.integers(-300, 300, a.size)
    assert np.array_equal(gpu.shift(np.uint32, sf.to_bits(a), by), sf.to_bits(sf.shift(a, by)))
    n = np.abs(integers(62))
    n[4:8] = [(1 << 63) - 1, 1 << 62, (1 << 53) + 1, 98_305]
    assert np.array_equal(gpu.from_int(np.uint32, n), sf.to_bits(sf.from_int(n)))


def test_every_root_of_a_mantissa(gpu):
    mantissas = np.arange(1 << 15, 1 << 16)
    for power in (-20, -19):
        a = sf.join(mantissas, np.full(mantissas.size, power))
        assert np.array_equal(gpu.sqrt(np.uint32, sf.to_bits(a)), sf.to_bits(sf.sqrt(a)))


@pytest.mark.parametrize("bits", [4, 8, 12, 24])
def test_the_elementwise_unit(gpu, bits):
    y, scale, by = integers(37), small_floats(low=-60, high=10), RNG.integers(-40, 24, COUNT)
    found = gpu.scale_int(np.int64, y, sf.to_bits(scale), by, bits)
    assert np.array_equal(found, sf.scale_int(y, scale, by, bits))
    ties = RNG.integers(-64, 64, COUNT)  # halves of every kind
    scale = sf.join(np.full(COUNT, 1 << 15), -15 - RNG.integers(0, 4, COUNT))
    found = gpu.scale_int(np.int64, ties, sf.to_bits(scale), 0 * ties, bits)
    assert np.array_equal(found, sf.scale_int(ties, scale, 0, bits))
    ends = np.repeat(integers(37, 64), 2)
    scale = np.tile(sf.join([1 << 15, 0xFFFF], [127, -128]), 64)
    found = gpu.scale_int(np.int64, ends, sf.to_bits(scale), 0 * ends, bits)
    assert np.array_equal(found, sf.scale_int(ends, scale, 0, bits))


def test_rounding_shifts(gpu):
    v, by = integers(60), RNG.integers(0, 70, COUNT)
    assert np.array_equal(gpu.round_shift(np.int64, v, by), round_shift(v, by))


@pytest.mark.parametrize("fmt", ["int4", "int8", "fp4"])
@pytest.mark.parametrize("bits", [0, 3, 12, 34])
def test_activations(gpu, fmt, bits):
    y = np.zeros(64, np.int64) if bits == 0 else integers(bits, 999)
    if bits == 3:
        y[:8] = [12, 1, 3, 5, 7, 10, -5, -7]  # FP4's ties
        y = np.clip(y, -12, 12)
    codes, _ = quantize(y, sf.from_float(1.0), fmt)
    if fmt == "int4":
        statistic, levels = np.abs(y).sum(), sf.constant(math.sqrt(7) * y.size)
    else:
        statistic, levels = np.abs(y).max(), sf.constant(127 if fmt == "int8" else 12)
    ratio = np.uint32(sf.to_bits(sf.div(levels, sf.from_int(statistic))))
    number = {"int4": 0, "int8": 1, "fp4": 2}[fmt]
    assert np.array_equal(gpu.activation(np.int64, y, ratio, number), codes)


def test_fp4_on_and_beside_its_middles(gpu):
    y = np.arange(-48, 49)
    codes, _ = quantize(y, sf.from_float(1.0), "fp4")
    ratio = np.uint32(sf.to_bits(sf.div(sf.constant(12), sf.from_int(48))))
    assert np.array_equal(gpu.activation(np.int64, y, ratio, 2), codes)


def test_the_scale_behind_a_norm(gpu):
    x = integers(23, 500)
    words = np.stack([x, x // 7, 0 * x, np.full(500, -(1 << 23))])
    scale, levels = small_floats(4, -30, -10), sf.constant(127)
    norm = FixedNorm(RNG.integers(-2047, 2048, 500), sf.from_float(0.02), sf.from_float(5e-3))
    y, unit = rms_norm(words, scale, norm)
    _, wanted = quantize(y, unit, "int8")
    squares, peaks = (words * words).sum(axis=1), np.abs(y).max(axis=1)

    def bits(value):
        return np.broadcast_to(sf.to_bits(value), 4).copy()
    found = gpu.norm_scale(np.uint32, squares, peaks, bits(scale), bits(norm.scale),
                           bits(norm.eps), bits(levels))
    assert np.array_equal(found, sf.to_bits(wanted))


@pytest.mark.parametrize("extra", [2, 6])
def test_rotation(gpu, extra):
    a, b = integers(22), integers(22)
    cos, sin = RNG.integers(-16384, 16385, (2, COUNT))
    wanted = rope(np.stack([a, b], axis=-1), cos[:, None], sin[:, None], extra)
    assert np.array_equal(gpu.rotated(np.int64, a, b, cos, sin, extra), wanted[:, 0])
    assert np.array_equal(gpu.rotated(np.int64, b, a, cos, -sin, extra), wanted[:, 1])


@pytest.mark.parametrize("code", ["midrise", "symmetric"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_rows(gpu, code, bits):
    for width in (0, 1, 4, 9, 23):
        x = integers(width, 333) if width else np.zeros(33, np.int64)
        scale = small_floats(1, -40, 0)
        codes, wanted = quantize_row(x, scale[0], bits, code)
        peak, midrise = np.abs(x).max(), code == "midrise"
        assert np.array_equal(gpu.row(np.int64, x, peak, bits, midrise), codes)
        found = gpu.row_scale(np.int64, peak[None], sf.to_bits(scale), bits, midrise)
        assert decode_kv_scale(found)[0] == wanted


def test_kv_scales(gpu):
    s = np.concatenate([small_floats(), small_floats(low=-70, high=10)])
    assert np.array_equal(gpu.encode(np.int64, sf.to_bits(s)), encode_kv_scale(s))
    codes = np.arange(1 << 16)
    assert np.array_equal(gpu.decode(np.uint32, codes), sf.to_bits(decode_kv_scale(codes)))


def test_softmax_weights(gpu):
    table = EXP2_TABLE.astype(np.uint16)
    distance = np.concatenate([np.arange(5000), [1 << 20, 1 << 24]])
    weights = gpu.exp2(np.int64, distance, table)
    assert np.array_equal(weights, exp2_weights(distance))
    scale = decode_kv_scale(RNG.integers(0, 1 << 16, weights.size))
    common = np.maximum(sf.exponent(scale), -55) + RNG.integers(0, 20, weights.size)
    found = gpu.value_weight(np.int64, weights, sf.to_bits(scale), common)
    wanted = np.rint(weights * np.ldexp(scale, -8 - common)).astype(np.int64)
    assert np.array_equal(found, wanted)
    for bits, peak in ((8, wanted.max()), (12, 77), (16, 1), (8, 0)):
        ratio = sf.div(sf.constant((1 << bits) - 1), sf.from_int(peak))
        given = np.minimum(wanted, peak)
        found = gpu.weight_code(np.int64, given, np.uint32(sf.to_bits(ratio)), (1 << bits) - 1)
        assert np.array_equal(found, np.minimum(np.rint(given * ratio), (1 << bits) - 1))


def test_joined_heads(gpu):
    places = AttentionWidths.of(ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=1, kv_heads=1,
                                           head_dim=2, context=4), Numerics()).output_shift
    outputs, scale = integers(23, 400).reshape(1, 1, 50, 8), small_floats(50, -60, 20)
    wanted, _ = _join_heads(outputs, scale[None, None], places)
    top = sf.exponent(scale)[scale > 0].max()
    found = gpu.joined(np.int64, outputs.reshape(-1), np.repeat(sf.to_bits(scale), 8),
                       np.full(400, top), places)
    assert np.array_equal(found, wanted.reshape(-1))


@pytest.mark.parametrize("peak", [8 * 128, 8 * 2560, 128 * 2560, 1 << 20])
def test_products_of_gate_and_up(gpu, peak):
    for width in (1, 8, peak.bit_length() - 1):
        gate, up = np.clip(integers(width), -peak, peak), np.clip(integers(20), -peak, peak)
        wanted, _ = relu2_glu(gate, up, sf.from_float(1.0), sf.from_float(1.0), peak)
        shape = max(gate.max(), 0), peak.bit_length()
        assert np.array_equal(gpu.glu(np.int64, gate, up, *shape), wanted)
        if peak < 1 << 15:
            assert np.array_equal(gpu.short_glu(np.int64, gate, up, *shape), wanted)


@pytest.mark.parametrize(("old", "new"), [
    ("2 * rest + (whole & 1)", "2 * rest + 1"), ("apart >= 17", "apart >= 16"),
    ("(2 * rest != (more ? divisor : 0))", "0"), ("past > 10", "past >= 10")])
def test_a_planted_error_is_seen(tmp_path, old, new):
    for name in ("smallfloat.cuh", "formats.cuh"):
        (tmp_path / name).write_text((SOURCES / name).read_text().replace(old, new))
    broken = Arithmetic(build('#include "arithmetic.h"\n', "broken", tmp_path, sources=tmp_path))

    def all_of_it():
        test_sums_of_near_small_floats(broken)
        test_small_floats(broken, "div", -30, 5)
        test_fp4_on_and_beside_its_middles(broken)
    with pytest.raises(AssertionError):
        all_of_it()
