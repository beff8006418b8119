# SPDX-License-Identifier: Apache-2.0
"""The KV cache in the GPU's memory: a ring of packed rows, and BOS at its own width."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Ints
from golden_model.config import ModelShape, Numerics
from golden_model.exact import CacheState
from golden_model.formats import decode_kv_scale, encode_kv_scale
from golden_model.kv.row_code import row_steps
from host.backends.base import BackendError
from host.gpu.runtime import Array, Device

__all__ = ["Cache", "CacheLayout"]

_WORD = 32


@dataclass(frozen=True)
class CacheLayout:
    """Shapes of the arrays; ``attention.cu`` says what lies where."""

    layers: int
    kv_heads: int
    head_dim: int
    slots: int
    """Rows of the ring: those that a token sees besides BOS."""
    bits: int
    bos_bits: int
    code: str

    @classmethod
    def of(cls, shape: ModelShape, numerics: Numerics, window: int) -> "CacheLayout":
        """Layout for a model at a window."""
        return cls(shape.layers, shape.kv_heads, shape.head_dim, max(1, window - 1),
                   numerics.kv_bits, numerics.bos_bits, numerics.kv_code)

    @property
    def spans(self) -> int:
        """Words that hold one bit of a row."""
        return -(-self.head_dim // _WORD)

    @property
    def sets(self) -> int:
        """Words that hold one bit of an element."""
        return -(-self.slots // _WORD)

    @property
    def rows(self) -> tuple[int, int]:
        """Leading axes of every array."""
        return self.layers, self.kv_heads

    @property
    def keys(self) -> tuple[int, ...]:
        """Axes: set, span, bit, slot."""
        return (*self.rows, self.sets, self.spans, self.bits, _WORD)

    @property
    def values(self) -> tuple[int, ...]:
        """Axes: set, bit, element."""
        return (*self.rows, self.sets, self.bits, self.spans * _WORD)

    @property
    def scales(self) -> tuple[int, ...]:
        """Axes: slot."""
        return (*self.rows, self.sets * _WORD)

    @property
    def bos(self) -> tuple[int, ...]:
        """Axes: key or value, span, bit."""
        return (*self.rows, 2, self.spans, self.bos_bits)

    def held(self, position: int) -> Ints:
        """Positions behind the first whose rows the ring holds after `position` tokens."""
        return np.arange(max(1, position - self.slots), position)


def _bits(words: NDArray[Any]) -> Ints:
    """Bits [.., 32] of words [..]."""
    return words.astype(np.int64)[..., None] >> np.arange(_WORD) & 1


def _words(bits: Ints) -> NDArray[np.uint32]:
    """Words [..] of bits [.., 32]."""
    return np.asarray((bits << np.arange(_WORD)).sum(axis=-1), np.uint32)


def _planes(codes: Ints, bits: int, axis: int) -> Ints:
    """Bits of codes, on a new axis."""
    return np.stack([codes >> p & 1 for p in range(bits)], axis=axis)


class Cache:
    """Arrays of one model's cache."""

    def __init__(self, device: Device, layout: CacheLayout) -> None:
        self.layout = layout
        self.keys = device.zeros(layout.keys, np.uint32)
        self.values = device.zeros(layout.values, np.uint32)
        self.key_scales = device.zeros(layout.scales, np.uint16)
        self.value_scales = device.zeros(layout.scales, np.uint16)
        self.bos = device.zeros(layout.bos, np.uint32)
        self.bos_scales = device.zeros((*layout.rows, 2), np.uint16)

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All of them, in the order in which attention takes them."""
        return (self.keys, self.values, self.key_scales, self.value_scales, self.bos,
                self.bos_scales)

    @property
    def nbytes(self) -> int:
        """Size."""
        return sum(each.nbytes for each in self.arrays)

    def read(self, position: int) -> CacheState:
        """State after `position` tokens, one at least; rows that no later token sees are zero."""
        layout, n = self.layout, self.layout.head_dim
        shape = (*layout.rows, layout.sets * _WORD, -1)
        weight = 1 << np.arange(max(layout.bits, layout.bos_bits))
        keys = np.einsum("lgsdptj,p->lgstdj", _bits(self.keys.get()), weight[:layout.bits])
        values = np.einsum("lgspij,p->lgsji", _bits(self.values.get()), weight[:layout.bits])
        bos = np.einsum("lgkdpj,p->lgkdj", _bits(self.bos.get()), weight[:layout.bos_bits])
        first = row_steps(bos.reshape(*layout.rows, 2, -1)[..., :n], layout.bos_bits, layout.code)
        first_scales = decode_kv_scale(self.bos_scales.get())
        held = layout.held(position)
        slots = (held - 1) % layout.slots
        out = []
        for kind, (codes, scales) in enumerate(((keys, self.key_scales),
                                                (values, self.value_scales))):
            steps = np.zeros((layout.layers, 1, layout.kv_heads, position, n), np.int64)
            real = np.zeros(steps.shape[:-1])
            rows = codes.reshape(shape)[:, :, slots, :n]
            steps[:, 0, :, held] = np.moveaxis(row_steps(rows, layout.bits, layout.code), 2, 0)
            real[:, 0, :, held] = np.moveaxis(decode_kv_scale(scales.get()[:, :, slots]), 2, 0)
            steps[:, 0, :, 0], real[:, 0, :, 0] = first[:, :, kind], first_scales[:, :, kind]
            out.append((steps, real))
        return CacheState(out[0][0], out[1][0], out[0][1], out[1][1])

    def write(self, state: CacheState) -> None:
        """Take a state; `BackendError` if it is of another shape or holds what no cache does."""
        layout, n = self.layout, self.layout.head_dim
        if state.k_scale.ndim != 4 or state.k_scale.shape[:3] != (
                layout.layers, 1, layout.kv_heads) or not state.k_scale.shape[3]:
            raise BackendError(f"a state of {layout.layers} layers, one sequence and "
                               f"{layout.kv_heads} heads is wanted, not {state.k_scale.shape}")
        position = state.k_scale.shape[3]
        held = layout.held(position)
        slots = (held - 1) % layout.slots
        bos, bos_scales = np.zeros(layout.bos, np.uint32), np.zeros((*layout.rows, 2), np.uint16)
        stored = []
        for kind, (steps, real) in enumerate(((state.k, state.k_scale),
                                              (state.v, state.v_scale))):
            if steps.shape != (*state.k_scale.shape, n) or real.shape != state.k_scale.shape:
                raise BackendError(f"keys and values must be {[*state.k_scale.shape, n]}, not "
                                   f"{list(steps.shape)}")
            scales = encode_kv_scale(real) if np.isfinite(real).all() else None
            if scales is None or (real < 0).any() or (decode_kv_scale(scales) != real).any():
                raise BackendError("a scale of keys or values is not one that a cache holds")
            first = _codes_of(steps[:, 0, :, 0], layout.bos_bits, layout.code)
            bos[:, :, kind] = _words(_planes(_padded(first, layout.spans * _WORD).reshape(
                *layout.rows, layout.spans, _WORD), layout.bos_bits, 3))
            bos_scales[:, :, kind] = scales[:, 0, :, 0]
            ring = np.zeros((*layout.scales, layout.spans * _WORD), np.int64)
            ring[:, :, slots] = _padded(_codes_of(steps[:, 0][:, :, held], layout.bits,
                                                  layout.code), layout.spans * _WORD)
            ring_scales = np.zeros(layout.scales, np.uint16)
            ring_scales[:, :, slots] = scales[:, 0][:, :, held]
            stored.append((ring.reshape(*layout.rows, layout.sets, _WORD, layout.spans, _WORD),
                           ring_scales))
        (keys, key_scales), (values, value_scales) = stored
        self.keys.put(_words(_planes(keys.swapaxes(3, 4), layout.bits, 4)))
        by_element = values.reshape(*layout.rows, layout.sets, _WORD, -1).swapaxes(3, 4)
        self.values.put(_words(_planes(by_element, layout.bits, 3)))
        self.key_scales.put(key_scales)
        self.value_scales.put(value_scales)
        self.bos.put(bos)
        self.bos_scales.put(bos_scales)


def _padded(codes: Ints, width: int) -> Ints:
    out = np.zeros((*codes.shape[:-1], width), np.int64)
    out[..., :codes.shape[-1]] = codes
    return out


def _codes_of(steps: Ints, bits: int, code: str) -> Ints:
    """Inverse of `row_steps`; `BackendError` for what no code gives."""
    top = (1 << bits) - 1
    codes = (steps + top) // 2 if code == "midrise" else steps + (1 << bits - 1)
    if codes.size and (codes.min() < 0 or codes.max() > top or
                       (row_steps(codes, bits, code) != steps).any()):
        raise BackendError(f"steps of keys or values are not those of {bits}-bit codes")
    return codes
