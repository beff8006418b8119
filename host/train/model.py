# SPDX-License-Identifier: Apache-2.0
"""The decoder: LLaMA-like, with sub-norms, ReLU^2 GLU, grouped-query attention, tied embedding.

One class serves training, evaluation and inference; a :class:`~host.train.scheme.Scheme` says what
is quantised.  The layout is BitNet b1.58's (arXiv:2411.04965, section 2).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden_model.config import ModelShape
from host.train import quantize
from host.train.quantize import Quantized
from host.train.scheme import Scheme

__all__ = ["Block", "Decoder", "Projection", "RMSNorm", "Tap", "silent"]

Tap = Callable[[str, Tensor], None]
"""Receives named intermediates; see :meth:`Decoder.forward`."""


def silent(name: str, value: Tensor) -> None:
    """Tap of nothing."""


class Projection(nn.Module):
    """A linear layer without bias: ``weight`` [M, K] is latent until :meth:`freeze` gives trits."""

    def __init__(self, rows: int, columns: int, std: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) * std)
        self.alpha: Tensor | None = None

    def freeze(self, codes: Tensor, scale: Tensor) -> None:
        """Take quantised values instead of latent ones: inference only."""
        self.weight = nn.Parameter(codes.to(self.weight), requires_grad=False)
        self.alpha = scale

    def quantized(self) -> Quantized:
        """Trits and alpha."""
        if self.alpha is None:
            return quantize.ternary(self.weight)
        return Quantized(self.weight, self.alpha)

    def forward(self, x: Tensor | Quantized) -> Tensor:
        """Product with float or quantised input; weights are ternary if the input is codes."""
        if isinstance(x, Tensor):
            return functional.linear(x, self.weight)
        trits, alpha = self.quantized()
        return functional.linear(x.codes, trits) * (x.scale * alpha)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * gain."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.gain


def rotation(shape: ModelShape) -> tuple[Tensor, Tensor]:
    """Cosines and sines [context, 1, head_dim / 2], computed in float64, as float64."""
    half = torch.arange(shape.head_dim // 2, dtype=torch.float64)
    frequency = shape.rope_theta ** (-2 * half / shape.head_dim)
    position = torch.arange(shape.context, dtype=torch.float64)
    angle = (position[:, None] * frequency)[:, None, :]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on [batch, tokens, heads, head_dim]; element i pairs with i + head_dim / 2."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Block(nn.Module):
    """Attention and feed-forward network, each behind its norm, each added to the residual."""

    def __init__(self, shape: ModelShape, dropout: float):
        super().__init__()
        self.shape, self.dropout = shape, dropout
        for name, (m, k) in shape.projections.items():
            depth = (2 * shape.layers) ** -0.5 if name in ("wo", "down") else 1
            self.add_module(name, Projection(m, k, depth * k ** -0.5))
        self.input_norm = RMSNorm(shape.hidden, shape.rms_eps)
        self.attn_sub_norm = RMSNorm(shape.q_dim, shape.rms_eps)
        self.ffn_norm = RMSNorm(shape.hidden, shape.rms_eps)
        self.ffn_sub_norm = RMSNorm(shape.ffn, shape.rms_eps)

    def projection(self, name: str) -> Projection:
        """Projection by its name in :attr:`golden_model.config.ModelShape.projections`."""
        found = getattr(self, name)
        if not isinstance(found, Projection):
            raise KeyError(name)
        return found

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, scheme: Scheme, tap: Tap = silent,
                noise_bits: int = 0) -> tuple[Tensor, Tensor]:
        """Residual stream in, residual stream out, both [batch, tokens, hidden].

        With it comes :func:`host.train.quantize.logit_noise` of a K of `noise_bits` bits; 0
        without them.
        """
        s = self.shape
        b, n, _ = x.shape

        a = quantize_input(self.input_norm(x), scheme.activations)   # [b, n, hidden]
        _tap_codes(tap, "qkv", a)
        q = self.wq(a).view(b, n, s.heads, s.head_dim)
        k = self.wk(a).view(b, n, s.kv_heads, s.head_dim)
        v = self.wv(a).view(b, n, s.kv_heads, s.head_dim)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        noise = x.new_zeros(())
        if noise_bits:
            noise = quantize.logit_noise(q, k, noise_bits)
        if scheme.q_bits < 16:
            q = quantize.absmax_heads(q, scheme.q_bits)
        if scheme.kv_bits < 16:
            k = quantize.midrise_heads(k, scheme.kv_bits, scheme.bos_bits)
            v = quantize.midrise_heads(v, scheme.kv_bits, scheme.bos_bits)
        y = functional.scaled_dot_product_attention(                 # [b, heads, n, head_dim]
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True,
            enable_gqa=True)
        y = y.transpose(1, 2).reshape(b, n, s.q_dim).to(x.dtype)
        o = quantize_output(self.attn_sub_norm(y), scheme)           # [b, n, q_dim]
        _tap_codes(tap, "out", o)
        x = x + functional.dropout(self.wo(o), self.dropout, self.training)
        tap("residual", x)

        a = quantize_input(self.ffn_norm(x), scheme.activations)     # [b, n, hidden]
        _tap_codes(tap, "gate", a)
        g = functional.relu(self.gate(a)).square()                   # [b, n, ffn]
        tap("gate_output", g)
        h = self.ffn_sub_norm(g * self.up(a))                        # [b, n, ffn]
        h = h if scheme.activations == "float" else quantize.int8(h)
        _tap_codes(tap, "down", h)
        x = x + functional.dropout(self.down(h), self.dropout, self.training)
        tap("residual", x)
        return x, noise


def quantize_input(x: Tensor, activations: str) -> Tensor | Quantized:
    """Input of q, k, v, gate and up in its format."""
    if activations == "float":
        return x
    return {"int8": quantize.int8, "int4": quantize.int4, "fp4": quantize.fp4}[activations](x)


def quantize_output(x: Tensor, scheme: Scheme) -> Tensor | Quantized:
    """Input of wo: FP4 in the FP4 variant, else INT8, with the top-K mask where it is on."""
    if scheme.activations == "float":
        return x
    codes, scale = quantize.fp4(x) if scheme.activations == "fp4" else quantize.int8(x)
    return Quantized(codes if scheme.keep == 1 else quantize.top_k(codes, scheme.keep), scale)


def _tap_codes(tap: Tap, name: str, x: Tensor | Quantized) -> None:
    tap(name, x if isinstance(x, Tensor) else x.codes)


class Decoder(nn.Module):
    """The whole model; ``embedding`` [vocab, hidden] is the LM head too."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape, dropout: float = 0.0):
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.embedding = nn.Parameter(torch.randn(shape.vocab, shape.hidden)
                                      * shape.hidden ** -0.5)
        self.embedding_scale: Tensor | None = None
        self.layers = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.final_norm = RMSNorm(shape.hidden, shape.rms_eps)
        cos, sin = rotation(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def blocks(self) -> Iterator[Block]:
        """Layers in their order."""
        for block in self.layers:
            if isinstance(block, Block):
                yield block

    def freeze_embedding(self, codes: Tensor, scale: Tensor) -> None:
        """Take quantised values instead of latent ones: inference only."""
        self.embedding = nn.Parameter(codes.to(self.embedding), requires_grad=False)
        self.embedding_scale = scale

    def quantized_embedding(self, span: float) -> Quantized:
        """Codes -13..13 and their one scale."""
        if self.embedding_scale is None:
            return quantize.trit_embedding(self.embedding, span)
        return Quantized(self.embedding, self.embedding_scale)

    def forward(self, tokens: Tensor, scheme: Scheme, tap: Tap = silent) -> Tensor:
        """Logits [batch, tokens, vocab] of token ids [batch, tokens], position 0 being BOS.

        See :meth:`logits_and_noise`.
        """
        return self.logits_and_noise(tokens, scheme, tap)[0]

    def logits_and_noise(self, tokens: Tensor, scheme: Scheme, tap: Tap = silent,
                         noise_bits: int = 0) -> tuple[Tensor, Tensor]:
        """Return logits, and the layers' mean :func:`host.train.quantize.logit_noise`.

        `tap` receives ``residual`` (the stream after the embedding and each addition),
        ``gate_output`` (ReLU^2 of the gate) and, by the projections that read them, the codes
        ``qkv``, ``out``, ``gate`` and ``down``.
        """
        n = tokens.shape[1]
        cos, sin = self.cos[:n].to(self.embedding), self.sin[:n].to(self.embedding)
        if scheme.trit_embedding:
            table = self.quantized_embedding(scheme.embedding_range)
            x = functional.embedding(tokens, table.codes) * table.scale  # [b, n, hidden]
        else:
            x = functional.embedding(tokens, self.embedding)
        x = functional.dropout(x, self.dropout, self.training)
        tap("residual", x)
        noise = x.new_zeros(())
        for block in self.layers:
            x, more = block(x, cos, sin, scheme, tap, noise_bits)
            noise = noise + more / len(self.layers)
        x = self.final_norm(x)
        with torch.autocast(x.device.type, enabled=False):               # logits in full precision
            if not scheme.trit_embedding:
                return functional.linear(x, self.embedding), noise
            h = quantize.int8(x)
            return functional.linear(h.codes, table.codes) * (h.scale * table.scale), noise
