# SPDX-License-Identifier: Apache-2.0
"""The paper's quantisers with straight-through gradients.

A quantiser gives codes and scale: ``codes * scale`` approximates the input.  Codes are exact small
numbers, so a bfloat16 matrix product of codes with trits loses nothing before its one rounding.
The gradient passes every rounding, clip and mask as if it were the identity, and no scale carries
one.  Rounding is half to even.  Equation numbers are those of arXiv:2411.04965.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "EPS",
    "TRIT_CODE_MAX",
    "Quantized",
    "absmax_heads",
    "fp4",
    "int4",
    "int8",
    "logit_noise",
    "midrise_heads",
    "ternary",
    "top_k",
    "trit_embedding",
]

EPS = 1e-5
"""The paper's epsilon, which it does not state; public code uses this value."""

TRIT_CODE_MAX = 13
"""Largest code of three trits: 1 + 3 + 9."""


class Quantized(NamedTuple):
    """Codes and the scale that turns them into values (broadcast over the last axis)."""

    codes: Tensor
    scale: Tensor


def _through(exact: Tensor, x: Tensor) -> Tensor:
    """Value of `exact`, bit for bit, with the gradient of `x`."""
    return exact.detach() + (x - x.detach()) if x.requires_grad else exact


def _code(x: Tensor, magnitude: Tensor, levels: float, low: int, high: int) -> Quantized:
    """``(m / L) RoundClip(L x / (m + eps), low, high)``, the form of Eq. 2, 3 and 7."""
    magnitude = magnitude.detach()
    ratio = x * (levels / (magnitude + EPS))
    return Quantized(_through(ratio.round().clamp(low, high), ratio), magnitude / levels)


def ternary(weight: Tensor) -> Quantized:
    """Eq. 2: trits of a whole matrix; the scale is alpha, its mean magnitude, a scalar."""
    return _code(weight, weight.abs().mean(), 1, -1, 1)


def int8(x: Tensor) -> Quantized:
    """Eq. 3: codes -128..127 by the largest magnitude along the last axis."""
    return _code(x, x.abs().amax(-1, keepdim=True), 127, -128, 127)


def int4(x: Tensor) -> Quantized:
    """Eq. 7: codes -8..7 by the mean magnitude along the last axis; about 2 % clip, as meant."""
    return _code(x, x.abs().mean(-1, keepdim=True), math.sqrt(7), -8, 7)


def fp4(x: Tensor) -> Quantized:
    """E2M1 codes 0, .5, 1, 1.5, 2, 3, 4, 6 with sign; the largest magnitude becomes 6 (Eq. 8)."""
    peak = x.abs().amax(-1, keepdim=True).detach()
    ratio = x * (6 / (peak + EPS))
    magnitude = ratio.detach().abs()
    step = 0.5 + 0.5 * (magnitude >= 2) + (magnitude >= 4)
    exact = torch.sign(ratio) * ((magnitude / step).round() * step).clamp(max=6)
    return Quantized(_through(exact, ratio), peak / 6)


def top_k(codes: Tensor, keep: float) -> Tensor:
    """Eq. 1's mask on INT8 codes: exactly ``int(keep * n)`` of the last axis stay.

    The largest magnitudes stay; among equals the lowest index.  Magnitude and index form one
    distinct key, and its threshold is found bit by bit: no sort, so the whole mask fuses.
    """
    n = codes.shape[-1]
    kept = int(keep * n)
    order = torch.arange(n - 1, -1, -1, device=codes.device, dtype=torch.int32)
    key = codes.detach().abs().int() * n + order
    threshold = torch.zeros_like(key[..., :1])
    for bit in reversed(range((129 * n).bit_length())):
        trial = threshold + (1 << bit)
        enough = (key >= trial).sum(-1, keepdim=True) >= kept
        threshold = torch.where(enough, trial, threshold)
    return _through(codes * (key >= threshold), codes)


def midrise_heads(x: Tensor, bits: int, first_bits: int) -> Tensor:
    """Dequantised K or V, one scale a token and head: x ~ absmax (2u - (2^b - 1)) / (2^b - 1).

    Parameters
    ----------
    x
        Vectors [batch, tokens, heads, head_dim].
    bits, first_bits
        Bits of the unsigned code u of all tokens, and of token 0.
    """
    levels = torch.full((x.shape[1], 1, 1), float(2**bits - 1), device=x.device, dtype=x.dtype)
    levels[0] = 2**first_bits - 1
    absmax = x.abs().amax(-1, keepdim=True).detach()
    u = ((x / (absmax + EPS) + 1) / 2 * levels).round()
    return _through(absmax * (2 * u - levels) / levels, x)


def logit_noise(q: Tensor, k: Tensor, bits: int) -> Tensor:
    """Variance that rounding K to mid-rise codes adds to a logit of attention, in nats squared.

    A code's step is ``2 absmax / (2**bits - 1)``, its error's variance a twelfth of the square; a
    logit sums head_dim of them, weighted by q, over sqrt(head_dim).  Training on it takes out of
    K's range what softmax does not see, such as a part that all keys share.  Rounding in the loop
    alone, its gradient passed through, never shows what a smaller range were worth.

    Parameters
    ----------
    q, k
        Behind RoPE [batch, tokens, heads or kv_heads, head_dim].
    """
    step = 2 * k.abs().amax(-1) / (2**bits - 1)                      # [batch, tokens, kv_heads]
    energy = q.square().mean((0, 1, 3)).view(k.shape[2], -1).mean(1)  # [kv_heads]
    return (energy * step.square().mean((0, 1)) / 12).mean()


def absmax_heads(x: Tensor, bits: int) -> Tensor:
    """Dequantised Q: symmetric codes by absmax, one scale a token and head."""
    top = 2**(bits - 1) - 1
    quantized = _code(x, x.abs().amax(-1, keepdim=True), top, -top, top)
    return quantized.codes * quantized.scale


def trit_embedding(weight: Tensor, span: float) -> Quantized:
    """Codes -13..13 of a whole matrix; the outermost stands for `span` mean magnitudes."""
    top = TRIT_CODE_MAX
    return _code(weight, span * weight.abs().mean(), top, -top, top)
