# SPDX-License-Identifier: Apache-2.0
"""Compile a model for a geometry: sections of the image, and the program that uses them."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats
from golden_model.attention.attend import AttentionWidths
from golden_model.attention.rope import rope_tables
from golden_model.config import ArrayConfig
from golden_model.program import Instruction
from golden_model.quant.activations import PEAK
from golden_model.quant.norm_quantiser import levels
from golden_model.quant.rms_norm import FixedNorm, fix_norm
from golden_model.weights import DecoderWeights, LayerWeights
from host.compile import layout
from host.compile.image import Image, header_beats, instruction_beats, make_image
from host.compile.layout import Beats

__all__ = ["FORMATS", "Section", "compile_model", "model_hash", "sections_of"]

FORMATS = {"int4": 0, "fp4": 1, "int8": 2}
"""Codes of the quantiser's formats, as :class:`hw.quant.code_encoder.Format` has them."""

GAIN_BITS = 12
TABLE_BITS = 16


class Section(NamedTuple):
    """One matrix, vector or table of the image."""

    name: str
    address: int
    """First beat."""
    beats: int


def _bits(scale: Floats) -> int:
    return int(smallfloat.to_bits(scale))


def model_hash(weights: DecoderWeights) -> str:
    """First 16 hexadecimal digits of SHA-256 over shape, numerics, trits, scales and gains."""
    digest = hashlib.sha256(f"{weights.shape}{weights.numerics}{weights.residual_frac}".encode())

    for array in (weights.embedding, np.float64(weights.embedding_scale), weights.final_gain):
        digest.update(array.tobytes())
    for layer in weights.layers:
        for matrix in layer.matrices.values():
            digest.update(matrix.trits.tobytes() + np.float64(matrix.scale).tobytes())
        for gain in layer.gains.values():
            digest.update(gain.tobytes())
    return digest.hexdigest()[:16]


class _Builder:
    """Sections as they are laid one behind the other."""

    def __init__(self, start: int) -> None:
        self.sections: list[Section] = []
        self.parts: list[Beats] = []
        self._next = start

    def add(self, name: str, beats: Beats) -> int:
        address = self._next
        self.sections.append(Section(name, address, len(beats)))
        self.parts.append(beats)
        self._next += len(beats)
        return address


def _norm_fields(norm: FixedNorm, fmt: str, n: int) -> dict[str, int]:
    return {"levels": _bits(levels(fmt, n)), "norm_scale": _bits(norm.scale),
            "eps": _bits(norm.eps)}


class _Compiler:
    """One run: sections are added as the instructions that need them are made."""

    def __init__(self, weights: DecoderWeights, array: ArrayConfig, lanes: int, start: int) -> None:
        self.weights, self.array, self.lanes = weights, array, lanes
        self.shape, self.numerics = weights.shape, weights.numerics
        self.out = _Builder(start)
        self.tiles = -(-self.shape.hidden // array.lanes)
        self.residual_scale = _bits(smallfloat.from_float(2.0 ** -weights.residual_frac))

    def _blocks(self, outputs: int) -> int:
        return -(-outputs // self.array.rows)

    def _wide(self, length: int) -> int:
        """Beats of a row or column of so many weights."""
        return -(-length // self.array.macs_per_cycle)

    def _gain(self, name: str, norm: FixedNorm) -> int:
        return self.out.add(name, layout.words(self.array, norm.gain, GAIN_BITS, self.lanes))

    def quantise(self, name: str, gain: Floats, fmt: str) -> Instruction:
        """Codes of the residual stream."""
        norm = fix_norm(gain, self.shape.rms_eps)
        return Instruction("quantise", {
            "n": self.shape.hidden, "gain": self._gain(name, norm), "format": FORMATS[fmt],
            "scale": self.residual_scale, **_norm_fields(norm, fmt, self.shape.hidden)})

    def layer(self, index: int, layer: LayerWeights, table: int,
              table_beats: int) -> list[Instruction]:
        """Instructions of one decoder block."""
        shape, numerics, name = self.shape, self.numerics, f"layers.{index}"
        trits = {part: matrix.trits for part, matrix in layer.matrices.items()}
        scale = {part: _bits(smallfloat.from_float(matrix.scale))
                 for part, matrix in layer.matrices.items()}
        qkv = np.concatenate([trits["wq"], trits["wk"], trits["wv"]])
        attn = fix_norm(layer.gains["attn_sub_norm"], shape.rms_eps)
        ffn = fix_norm(layer.gains["ffn_sub_norm"], shape.rms_eps)
        kept, of = numerics.topk_keep
        act, shift = numerics.act_format, self.weights.residual_frac
        return [
            self.quantise(f"{name}.input_norm", layer.gains["input_norm"], act),
            Instruction("project", {
                "layer": index, "address": self.out.add(f"{name}.qkv",
                                                        layout.dense(self.array, qkv)),
                "blocks": self._blocks(len(qkv)), "tiles": self.tiles, "alpha_q": scale["wq"],
                "alpha_k": scale["wk"], "alpha_v": scale["wv"], "table": table,
                "table_beats": table_beats}),
            Instruction("attend", {
                "layer": index,
                "score_scale": _bits(AttentionWidths.of(shape, numerics).score_scale)}),
            Instruction("output", {
                "n": shape.q_dim, "keep": shape.q_dim * kept // of,
                "gain": self._gain(f"{name}.attn_sub_norm", attn),
                **_norm_fields(attn, numerics.wo_format, shape.q_dim),
                "address": self.out.add(f"{name}.wo", layout.columns(self.array, trits["wo"])),
                "blocks": self._wide(shape.hidden), "alpha": scale["wo"], "shift": shift}),
            self.quantise(f"{name}.ffn_norm", layer.gains["ffn_norm"], act),
            Instruction("feed_forward", {
                "n": shape.ffn,
                "gate_address": self.out.add(f"{name}.gate",
                                             layout.dense(self.array, trits["gate"])),
                "gate_blocks": self._blocks(shape.ffn), "tiles": self.tiles,
                "gate_scale": scale["gate"],
                "up_address": self.out.add(f"{name}.up", layout.rows(self.array, trits["up"])),
                "up_blocks": self._wide(shape.hidden), "up_scale": scale["up"],
                "peak_bits": (PEAK[act] * shape.hidden).bit_length(),
                "gain": self._gain(f"{name}.ffn_sub_norm", ffn),
                **_norm_fields(ffn, "int8", shape.ffn),
                "down_address": self.out.add(f"{name}.down",
                                             layout.columns(self.array, trits["down"])),
                "down_blocks": self._wide(shape.hidden), "alpha": scale["down"],
                "shift": shift}),
        ]

    def program(self) -> list[Instruction]:
        """Instructions of one token."""
        weights, shape = self.weights, self.shape
        embedding = _bits(smallfloat.from_float(weights.embedding_scale))
        head = self.out.add("embedding", layout.planes(self.array, weights.embedding))
        cos, sin = rope_tables(shape.context, shape.head_dim, shape.rope_theta)
        pairs = np.stack([cos, sin], axis=-1)                  # [context, head_dim / 2, 2]
        rows = [layout.words(self.array, row, TABLE_BITS, 2) for row in pairs]
        table = self.out.add("rope", np.concatenate(rows))
        code = [Instruction("embed", {
            "address": head, "tiles": self.tiles, "n": shape.hidden, "scale": embedding,
            "shift": weights.residual_frac})]
        for index, layer in enumerate(weights.layers):
            code += self.layer(index, layer, table, len(rows[0]))
        return [
            *code, self.quantise("final_norm", weights.final_gain, "int8"),
            Instruction("head", {
                "address": head, "blocks": 3 * self._blocks(shape.vocab), "tiles": self.tiles,
                "vocab": shape.vocab, "scale": embedding}),
            Instruction("end"),
        ]


def _instructions(layers: int) -> int:
    """Count the instructions of a token."""
    return 4 + 6 * layers


def sections_of(weights: DecoderWeights, array: ArrayConfig,
                lanes: int) -> tuple[list[Section], list[Instruction], list[Beats]]:
    """Sections, the program, and the beats of each section."""
    size = layout.beat_bytes(array)
    count = _instructions(weights.shape.layers)
    compiler = _Compiler(weights, array, lanes,
                         header_beats(size) + instruction_beats(size) * count)
    program = compiler.program()
    return compiler.out.sections, program, compiler.out.parts


def compile_model(weights: DecoderWeights, array: ArrayConfig, lanes: int,
                  config_hash: str) -> tuple[Image, Mapping[str, Section]]:
    """Compile a model into an image.

    Parameters
    ----------
    array
        Geometry of the array, whose weights of one cycle are a beat.
    lanes
        Elements a cycle of the vector units.
    config_hash
        Of the accelerator that the image is for, 16 hexadecimal digits.

    Returns
    -------
    Image, dict
        The image, and its sections by name.
    """
    sections, program, parts = sections_of(weights, array, lanes)
    image = make_image(layout.beat_bytes(array), config_hash, model_hash(weights), program,
                       np.concatenate(parts))
    return image, {section.name: section for section in sections}
