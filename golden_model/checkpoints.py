# SPDX-License-Identifier: Apache-2.0
"""Ternary weight layouts of others, read only: Hugging Face ``bitnet``, GGUF TQ1_0, TQ2_0, I2_S.

Files are untrusted: each reader raises ``ValueError`` for a length or code that cannot be.
"""

import numpy as np
from numpy.typing import ArrayLike

from golden_model.arrays import Codes, Floats
from golden_model.formats import Bytes

__all__ = ["GGUF_BLOCK", "I2_S_BLOCK", "I2_S_TAIL", "TQ1_0_BYTES", "TQ2_0_BYTES", "unpack_hf",
           "unpack_i2_s", "unpack_tq1_0", "unpack_tq2_0"]

GGUF_BLOCK = 256
"""Elements of one GGUF ternary block."""
TQ1_0_BYTES = 54
TQ2_0_BYTES = 66
I2_S_BLOCK = 128
"""Elements of one I2_S block as files for x86 have it; files written on ARM have 64."""
I2_S_TAIL = 32
"""Bytes after the codes of an I2_S tensor: a float32 scale, then padding."""


def _trits(codes: Bytes) -> Codes:
    """Trits of codes 0, 1, 2."""
    if codes.size and codes.max() > 2:
        raise ValueError("code 3 stands for no trit")
    return codes.astype(np.int8) - np.int8(1)


def unpack_hf(packed: ArrayLike) -> Codes:
    """Trits [N, K] of a Hugging Face ``bitnet`` weight, uint8 [N / 4, K].

    Bits ``2 i`` and ``2 i + 1`` of byte [p, k] hold ``W[p + i * N / 4, k] + 1``.
    """
    array = np.asarray(packed)
    if array.ndim != 2 or array.dtype != np.uint8:
        raise ValueError(f"a bitnet weight is uint8 [N / 4, K], not {array.dtype}"
                         f"{list(array.shape)}")
    return _trits(np.concatenate([array >> 2 * i & 3 for i in range(4)]))


def _blocks(data: bytes, size: int) -> tuple[Bytes, Floats]:
    """Split into blocks of `size` bytes that end in a float16 scale."""
    if len(data) % size:
        raise ValueError(f"blocks take {size} bytes each, which {len(data)} bytes do not fill")
    blocks = np.frombuffer(data, np.uint8).reshape(-1, size)
    scales = blocks[:, -2:].copy().view("<f2")[:, 0].astype(np.float64)
    if not np.isfinite(scales).all():
        raise ValueError(f"block {int(np.argmin(np.isfinite(scales)))} has a scale that is not "
                         "finite")
    return blocks[:, :-2], scales


def unpack_tq2_0(data: bytes) -> tuple[Codes, Floats]:
    """Trits [blocks, 256] and scales [blocks] of GGUF TQ2_0.

    Byte ``32 h + m`` of a block holds ``x[128 h + 32 n + m] + 1`` in bits ``2 n`` and ``2 n + 1``.
    """
    packed, scales = _blocks(data, TQ2_0_BYTES)
    codes = packed.reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2)[:, None] & 3
    return _trits(codes.reshape(-1, GGUF_BLOCK).astype(np.uint8)), scales


def _digits(packed: Bytes, count: int) -> Codes:
    """First `count` trits of bytes [blocks, n], most significant first: [blocks, count, n]."""
    powers = 3 ** np.arange(count)[:, None]
    wrapped = (packed[:, None, :].astype(np.int64) * powers) & 0xFF
    return (wrapped * 3 >> 8).astype(np.int8) - np.int8(1)


def unpack_tq1_0(data: bytes) -> tuple[Codes, Floats]:
    """Trits [blocks, 256] and scales [blocks] of GGUF TQ1_0.

    A byte is ``ceil(v * 256 / 243)`` for five trits ``v = sum (t_n + 1) * 3**(4 - n)``.  In a
    block, bytes 0-31 hold elements ``m + 32 n``; bytes 32-47 elements ``160 + m + 16 n``; bytes
    48-51 elements ``240 + j + 4 n`` for n = 0..3.
    """
    packed, scales = _blocks(data, TQ1_0_BYTES)
    parts = [_digits(packed[:, :32], 5), _digits(packed[:, 32:48], 5), _digits(packed[:, 48:], 4)]
    return np.concatenate([part.reshape(len(packed), -1) for part in parts], axis=1), scales


def unpack_i2_s(data: bytes, count: int, block: int = I2_S_BLOCK) -> tuple[Codes, float]:
    """Trits [count] and the one scale of a whole I2_S tensor, row-major.

    Byte p of a block of 4 q elements holds ``x[g q + p] + 1`` in bits ``6 - 2 g`` and ``7 - 2 g``,
    for g = 0..3.  The codes, `count` / 4 bytes, are followed by the float32 scale and 28 bytes of
    padding.  The tensor says nothing of its block: 128 and 64 give different weights from the same
    bytes, so the caller has to know which machine wrote the file.
    """
    if block not in (64, 128):
        raise ValueError(f"an I2_S block has 128 or 64 elements, not {block}")
    if count <= 0 or count % block:
        raise ValueError(f"I2_S takes whole blocks of {block} elements, which {count} do not fill")
    if len(data) != count // 4 + I2_S_TAIL:
        raise ValueError(f"{count} elements take {count // 4 + I2_S_TAIL} bytes, not {len(data)}")
    packed = np.frombuffer(data, np.uint8, count // 4).reshape(-1, 1, block // 4)
    codes = packed >> np.arange(6, -1, -2, dtype=np.uint8)[:, None] & 3
    scale = float(np.frombuffer(data, "<f4", 1, count // 4)[0])
    if not np.isfinite(scale):
        raise ValueError("the scale is not finite")
    return _trits(codes.reshape(-1).astype(np.uint8)), scale
