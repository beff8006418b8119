# SPDX-License-Identifier: Apache-2.0
"""Layouts of other projects, with vectors worked out by hand from their descriptions."""

import numpy as np
import pytest

from golden_model.checkpoints import unpack_hf, unpack_i2_s, unpack_tq1_0, unpack_tq2_0

HALF_ONE = b"\x00\x3c"  # float16 1.0
HALF_QUARTER = b"\x00\x34"
FLOAT_TAIL = b"\x00\x00\x20\x40" + bytes(28)  # float32 2.5 and padding


def test_hf_rows_lie_a_quarter_of_the_matrix_apart():
    # N = 8, K = 1: byte 0 holds rows 0, 2, 4, 6 and byte 1 holds rows 1, 3, 5, 7.
    packed = np.array([[0 | 1 << 2 | 2 << 4 | 1 << 6], [2 | 2 << 2 | 0 << 4 | 0 << 6]], np.uint8)
    assert unpack_hf(packed)[:, 0].tolist() == [-1, 1, 0, 1, 1, -1, 0, -1]
    assert unpack_hf(np.array([[0x55, 0xAA, 0x00]], np.uint8)).tolist() == [[0, 1, -1]] * 4


def test_tq2_0_element_order():
    block = bytearray(b"\x55" * 64 + HALF_ONE)  # all codes 1: zeros
    block[0] = 0b10_01_00_01   # x[0], x[32], x[64], x[96] = 0, -1, 0, 1
    block[32 + 5] = 0b01_01_01_10  # x[128 + 5] = 1
    trits, scale = unpack_tq2_0(bytes(block))
    assert trits.shape == (1, 256)
    assert {int(i): int(trits[0, i]) for i in np.flatnonzero(trits[0])} == {32: -1, 96: 1, 133: 1}
    assert scale.tolist() == [1.0]


def test_tq1_0_element_order():
    """Byte of five trits v, most significant first, is ceil(v * 256 / 243); all zero is 128."""
    block = bytearray(b"\x80" * 48 + b"\x80" * 4 + HALF_QUARTER)
    # codes 2 1 1 1 0: v = 2*81 + 27 + 9 + 3 + 0 = 201 -> ceil(211.75) = 212
    block[3] = 212
    # codes 0 2 1 1 1: v = 0 + 54 + 9 + 3 + 1 = 67 -> ceil(70.58) = 71
    block[32 + 7] = 71
    # four trits 1 1 0 2 and a zero: v = 81 + 27 + 0 + 6 + 0 = 114 -> ceil(120.10) = 121
    for j in range(4):
        block[48 + j] = 127  # 1 1 1 1 0: v = 120 -> ceil(126.42)
    block[48 + 2] = 121
    trits, scale = unpack_tq1_0(bytes(block))
    assert {int(i): int(trits[0, i]) for i in np.flatnonzero(trits[0])} == {
        3: 1, 3 + 128: -1,               # x[m + 32 n]
        160 + 7: -1, 160 + 7 + 16: 1,    # x[160 + m + 16 n]
        240 + 2 + 8: -1, 240 + 2 + 12: 1,  # x[240 + j + 4 n]
    }
    assert scale.tolist() == [0.25]


def test_tq1_0_decodes_every_byte_that_five_trits_make():
    codes = np.stack(np.meshgrid(*[np.arange(3)] * 5, indexing="ij"), -1).reshape(-1, 5)
    values = codes @ [81, 27, 9, 3, 1]
    for start in range(0, 243, 32):
        part = codes[start:start + 32]
        stored = -(-values[start:start + 32] * 256 // 243)
        block = bytes(stored.tolist()) + b"\x80" * (52 - len(part)) + HALF_ONE
        trits = unpack_tq1_0(block)[0][0, :160].reshape(5, 32)[:, :len(part)]
        assert np.array_equal(trits.T, part - 1)


def test_several_blocks():
    data = (b"\xAA" * 64 + HALF_ONE) + (b"\x00" * 64 + HALF_QUARTER)
    trits, scale = unpack_tq2_0(data)
    assert (trits[0] == 1).all()
    assert (trits[1] == -1).all()
    assert scale.tolist() == [1.0, 0.25]


def test_i2_s_element_order_of_x86_files():
    codes = bytearray(b"\x55" * 64)  # two blocks of 128 elements, all zero
    codes[0] = 0b00_01_10_01          # x[0] = -1, x[32] = 0, x[64] = 1, x[96] = 0
    codes[31] = 0b01_01_01_10         # x[96 + 31] = 1
    codes[32 + 5] = 0b01_00_01_01     # x[128 + 32 + 5] = -1
    trits, scale = unpack_i2_s(bytes(codes) + FLOAT_TAIL, 256)
    assert {int(i): int(trits[i]) for i in np.flatnonzero(trits)} == {
        0: -1, 64: 1, 127: 1, 165: -1}
    assert scale == 2.5


def test_i2_s_element_order_of_arm_files():
    codes = bytearray(b"\x55" * 32)   # two blocks of 64 elements, all zero
    codes[0] = 0b00_01_10_01          # x[0] = -1, x[16] = 0, x[32] = 1, x[48] = 0
    codes[16 + 15] = 0b01_10_01_00    # x[64 + 16 + 15] = 1, x[64 + 48 + 15] = -1
    trits, _ = unpack_i2_s(bytes(codes) + FLOAT_TAIL, 128, block=64)
    assert {int(i): int(trits[i]) for i in np.flatnonzero(trits)} == {0: -1, 32: 1, 95: 1, 127: -1}


@pytest.mark.parametrize(("call", "message"), [
    (lambda: unpack_i2_s(b"\xFF" * 32 + FLOAT_TAIL, 128), "code 3"),
    (lambda: unpack_i2_s(b"\x55" * 32 + bytes(31), 128), "64 bytes, not 63"),
    (lambda: unpack_i2_s(b"\x55" * 33 + bytes(32), 128), "64 bytes, not 65"),
    (lambda: unpack_i2_s(b"\x55" * 16 + FLOAT_TAIL, 64), "blocks of 128"),
    (lambda: unpack_i2_s(FLOAT_TAIL, 0), "blocks of 128"),
    (lambda: unpack_i2_s(FLOAT_TAIL, -128), "blocks of 128"),
    (lambda: unpack_i2_s(b"\x55" * 8 + FLOAT_TAIL, 32, block=32), "128 or 64"),
    (lambda: unpack_i2_s(b"\x55" * 32 + b"\x00\x00\x80\x7f" + bytes(28), 128), "not finite"),
    (lambda: unpack_hf(np.array([[3]], np.uint8)), "code 3"),
    (lambda: unpack_hf(np.array([3], np.uint8)), r"\[N / 4, K\]"),
    (lambda: unpack_hf(np.array([[3]], np.int8)), "int8"),
    (lambda: unpack_tq2_0(b"\xFF" * 64 + HALF_ONE), "code 3"),
    (lambda: unpack_tq2_0(b"\x00" * 65), "66 bytes"),
    (lambda: unpack_tq1_0(b"\x00" * 53), "54 bytes"),
    (lambda: unpack_tq1_0(b"\x80" * 52 + b"\x00\x7c"), "block 0 .* not finite"),
])
def test_broken_files_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
