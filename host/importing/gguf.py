# SPDX-License-Identifier: Apache-2.0
"""A GGUF file whose ternary matrices are TQ1_0, TQ2_0 or I2_S.

A packed model has one scale a matrix, so the blocks of a TQ matrix must agree on theirs; a block of
zeros has no say.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes, Floats
from golden_model.checkpoints import I2_S_BLOCK, unpack_i2_s, unpack_tq1_0, unpack_tq2_0
from golden_model.config import ModelShape
from golden_model.weights import SUB_NORMS, TernaryMatrix, gain_widths
from host.errors import UserError
from host.importing.files import Entry, shown
from host.importing.gguf_reader import Gguf, read_gguf
from host.importing.source import Source, absmean, cut_context, ternary_of

__all__ = ["GgufSource", "open_gguf"]

ARCHITECTURES = ("bitnet-b1.58", "bitnet-25")
"""Those that runtimes compute with squared ReLU; the file does not say it."""
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
MATRICES = {"wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output",
            "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
GAINS = {"input_norm": "attn_norm", "attn_sub_norm": "attn_sub_norm", "ffn_norm": "ffn_norm",
         "ffn_sub_norm": "ffn_sub_norm"}


@dataclass
class GgufSource(Source):
    """See :func:`open_gguf`."""

    i2_s_block: int = I2_S_BLOCK

    def matrix(self, layer: int, part: str) -> TernaryMatrix:
        """Ternary matrix of a layer by the name of its projection."""
        name, size = f"blk.{layer}.{MATRICES[part]}.weight", self.shape.projections[part]
        tensors = self.tensors
        entry = tensors.shaped(name, size)
        if entry.dtype in ("F32", "F16", "BF16"):
            return ternary_of(tensors, name, *absmean(tensors.floats(name, size)))
        trits, scale = self._decode(name, entry)
        extra = name.removesuffix(".weight") + ".scale"  # where blocks hold bare trits
        if extra in tensors:
            scale *= tensors.scalar(extra)
        return ternary_of(tensors, name, trits.reshape(size), scale)

    def _decode(self, name: str, entry: Entry) -> tuple[Codes, float]:
        raw = self.tensors.raw(entry)
        try:
            if entry.dtype == "I2_S":
                count = int(np.prod(entry.shape, dtype=np.int64))
                return unpack_i2_s(raw, count, self.i2_s_block)
            trits, scales = (unpack_tq1_0 if entry.dtype == "TQ1_0" else unpack_tq2_0)(raw)
        except ValueError as error:
            raise entry.file.wrong(f"tensor {shown(name)}: {error}") from error
        used = scales[trits.any(axis=1)]
        if used.size == 0:
            raise entry.file.wrong(f"tensor {shown(name)} holds nothing but zeros")
        if used.min() != used.max():
            raise entry.file.wrong(f"tensor {shown(name)} has block scales from {used.min():g} to "
                                   f"{used.max():g}; a packed matrix has one")
        return trits, float(used[0])

    @property
    def sub_norms(self) -> bool:
        """Whether any layer has a norm ahead of Wo or Wdown."""
        ends = tuple(f".{GAINS[norm]}.weight" for norm in SUB_NORMS)
        return any(name.endswith(ends) for name in self.tensors.entries)

    def gain(self, layer: int, norm: str) -> Floats:
        """RMSNorm gain of a layer by its name."""
        width = gain_widths(self.shape)[norm]
        name = f"blk.{layer}.{GAINS[norm]}.weight"
        return self.tensors.floats(name, (width,)).astype(np.float64)

    def final_gain(self) -> Floats:
        """RMSNorm gain ahead of the LM head."""
        return self.tensors.floats("output_norm.weight", (self.shape.hidden,)).astype(np.float64)

    def embedding(self) -> Iterator[NDArray[np.float32]]:
        """Rows [n, hidden] of the embedding, in order."""
        return self.tensors.rows(EMBEDDING, (self.shape.vocab, self.shape.hidden))

    def finish(self) -> None:
        """Refuse an LM head of its own, and tensors that no one asked for."""
        if HEAD in self.tensors:
            pairs = zip(self.tensors.rows(HEAD, (self.shape.vocab, self.shape.hidden)),
                        self.embedding(), strict=True)
            if not all(np.array_equal(head, rows) for head, rows in pairs):
                raise self.tensors.wrong("its LM head differs from its embedding; the packed model "
                                         "has one matrix for both")
        super().finish()


class _Metadata:
    """Keys of one architecture."""

    def __init__(self, path: Path, gguf: Gguf, architecture: str) -> None:
        self.path, self.gguf, self.prefix = path, gguf, architecture

    def whole(self, name: str, default: int | None = None) -> int:
        key = f"{self.prefix}.{name}"
        value = self.gguf.metadata.get(key, default)
        if key in self.gguf.lengths:
            raise UserError(f"{self.path}: {key} differs between layers; a packed model has one")
        if type(value) is not int or not 0 < value < 1 << 31:
            raise UserError(f"{self.path}: {key} must be a positive integer, not "
                            f"{shown(str(value))}")
        return value

    def real(self, name: str) -> float:
        key = f"{self.prefix}.{name}"
        value = self.gguf.metadata.get(key)
        if type(value) is not float or not math.isfinite(value):
            raise UserError(f"{self.path}: {key} must be a finite float, not {shown(str(value))}")
        # Written from a decimal number: 1e-5 is not to become 9.99999974e-06.
        return float(f"{value:.7g}")


def _shape(path: Path, gguf: Gguf, architecture: str, notes: list[str]) -> ModelShape:
    data = _Metadata(path, gguf, architecture)
    hidden, heads = data.whole("embedding_length"), data.whole("attention.head_count")
    head_dim = data.whole("rope.dimension_count", max(1, hidden // heads))
    for key in ("attention.key_length", "attention.value_length"):
        if data.whole(key, head_dim) != head_dim:
            raise UserError(f"{path}: {architecture}.{key} is not {head_dim}, the width that "
                            "turns; heads turn as a whole here")
    scaling = gguf.metadata.get(f"{architecture}.rope.scaling.type", "none")
    factor = gguf.metadata.get(f"{architecture}.rope.scaling.factor", 1.0)
    if scaling not in ("none", "linear") or (scaling == "linear" and factor != 1.0):
        raise UserError(f"{path}: rotary angles are scaled ({shown(str(scaling))}, factor "
                        f"{factor}); they are not here")
    embedding = gguf.tensors.entries.get(EMBEDDING)
    vocab = embedding.shape[0] if embedding is not None else None
    try:
        return ModelShape(
            vocab=data.whole("vocab_size", vocab), hidden=hidden, heads=heads, head_dim=head_dim,
            layers=data.whole("block_count"), ffn=data.whole("feed_forward_length"),
            kv_heads=data.whole("attention.head_count_kv", heads),
            context=cut_context(data.whole("context_length"), notes),
            rope_theta=data.real("rope.freq_base"),
            rms_eps=data.real("attention.layer_norm_rms_epsilon"))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def open_gguf(path: Path, i2_s_block: int = I2_S_BLOCK) -> GgufSource:
    """Open a GGUF file.

    Parameters
    ----------
    i2_s_block
        Elements of an I2_S block: 128, or 64 for files written on ARM; the file does not say.

    Raises
    ------
    UserError
        The file is unsound, or the model is one that the accelerator does not compute.
    """
    gguf = read_gguf(path)
    architecture = gguf.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        more = (": it stands for other activation functions than squared ReLU"
                if architecture in ("bitnet", "llama") else "")
        raise UserError(f"{path}: general.architecture is {shown(str(architecture))}; what is read "
                        f"is {', '.join(ARCHITECTURES)}{more}")
    notes: list[str] = []
    shape = _shape(path, gguf, str(architecture), notes)
    weight = gguf.tensors.entries.get("blk.0.attn_q.weight")
    kind = weight.dtype if weight is not None else "?"
    if kind == "I2_S":
        notes.append(f"I2_S blocks are taken to have {i2_s_block} elements; the file does not say.")
    return GgufSource(layout=f"GGUF {kind}", architecture=str(architecture), shape=shape,
                      tensors=gguf.tensors, notes=notes, i2_s_block=i2_s_block)
