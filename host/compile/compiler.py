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
from golden_model.decoder_config import DecoderConfig
from golden_model.program import Instruction
from golden_model.quant.activations import PEAK
from golden_model.quant.norm_quantiser import levels
from golden_model.quant.rms_norm import FixedNorm, fix_norm
from golden_model.weights import DecoderWeights, LayerWeights
from host.compile import layout
from host.compile.facts import model_facts
from host.compile.fit import check_fits
from host.compile.image import Image, header_beats, instruction_beats, make_image
from host.compile.layout import Beats

__all__ = ["FORMATS", "Section", "compile_model", "model_hash", "sections_of"]

FORMATS = {"int4": 0, "fp4": 1, "int8": 2}
"""Codes of the quantiser's formats, as :class:`hw.quant.code_encoder.Format` has them."""

TABLE_BITS = 16
HEAD_INSTRUCTIONS = 3
"""Last instructions of a program, which a token without a successor leaves out."""


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


class _Compiler:
    """One run: sections are added as the instructions that need them are made."""

    def __init__(self, weights: DecoderWeights, config: DecoderConfig, start: int) -> None:
        self.weights, self.config, self.array = weights, config, config.array
        self.shape, self.numerics = weights.shape, weights.numerics
        self.out = _Builder(start)
        self.tiles = -(-self.shape.hidden // self.array.lanes)
        self.residual_scale = _bits(smallfloat.from_float(2.0 ** -weights.residual_frac))

    def _blocks(self, outputs: int) -> int:
        return -(-outputs // self.array.rows)

    def _wide(self, length: int) -> int:
        """Beats of a row or column of so many weights."""
        return -(-length // self.config.width)

    def _norm(self, name: str, norm: FixedNorm, fmt: str, n: int) -> dict[str, int]:
        """Fields of a norm and its quantiser."""
        beats = layout.words(self.array, norm.gain, self.config.quantiser.gain_bits,
                             self.config.lanes)
        return {"n": n, "gain": self.out.add(name, beats), "gain_beats": len(beats),
                "levels": _bits(levels(fmt, n)), "norm_scale": _bits(norm.scale),
                "eps": _bits(norm.eps)}

    def quantise(self, name: str, gain: Floats, fmt: str, blocks: int,
                 up_blocks: int = 0) -> Instruction:
        """Codes of the residual stream for a run of the array, and for the up rows."""
        n = self.shape.hidden
        return Instruction("quantise", {
            **self._norm(name, fix_norm(gain, self.shape.rms_eps), fmt, n),
            "format": FORMATS[fmt], "scale": self.residual_scale, "blocks": blocks,
            "tiles": self.tiles, "up_blocks": up_blocks})

    def layer(self, index: int, layer: LayerWeights) -> list[Instruction]:
        """Instructions of one decoder block."""
        shape, numerics, name = self.shape, self.numerics, f"layers.{index}"
        trits = {part: matrix.trits for part, matrix in layer.matrices.items()}
        scale = {part: _bits(smallfloat.from_float(matrix.scale))
                 for part, matrix in layer.matrices.items()}
        qkv = layout.heads(layout.paired(trits["wk"], shape.head_dim), trits["wv"],
                           layout.paired(trits["wq"], shape.head_dim), shape.head_dim,
                           self.config.attention.ahead)
        attn = fix_norm(layer.gains["attn_sub_norm"], shape.rms_eps)
        ffn = fix_norm(layer.gains["ffn_sub_norm"], shape.rms_eps)
        kept, of = numerics.topk_keep
        act, shift = numerics.act_format, self.weights.residual_frac
        attention = self.config.attention.attention
        passes = shape.heads // attention.queries
        return [
            self.quantise(f"{name}.input_norm", layer.gains["input_norm"], act,
                          self._blocks(len(qkv))),
            Instruction("attend", {
                "layer": index, "stream": index * shape.kv_heads,
                "address": self.out.add(f"{name}.qkv", layout.dense(self.array, qkv)),
                "beats": self._blocks(len(qkv)) * self.tiles, "heads": shape.heads,
                "kv_heads": shape.kv_heads, "n": shape.head_dim,
                "words": -(-shape.head_dim // attention.lanes), "passes": passes,
                "shared": passes // shape.kv_heads, "alpha_q": scale["wq"],
                "alpha_k": scale["wk"], "alpha_v": scale["wv"],
                "score_scale": _bits(AttentionWidths.of(shape, numerics).score_scale)}),
            Instruction("output", {
                "keep": shape.q_dim * kept // of,
                **self._norm(f"{name}.attn_sub_norm", attn, numerics.wo_format, shape.q_dim),
                "address": self.out.add(f"{name}.wo", layout.columns(self.array, trits["wo"])),
                "blocks": self._wide(shape.hidden), "alpha": scale["wo"], "shift": shift}),
            self.quantise(f"{name}.ffn_norm", layer.gains["ffn_norm"], act,
                          self._blocks(shape.ffn), self._wide(shape.hidden)),
            Instruction("feed_forward", {
                "gate_address": self.out.add(f"{name}.gate",
                                             layout.dense(self.array, trits["gate"])),
                "gate_beats": self._blocks(shape.ffn) * self.tiles, "gate_scale": scale["gate"],
                "up_address": self.out.add(f"{name}.up", layout.rows(self.array, trits["up"])),
                "up_blocks": self._wide(shape.hidden), "up_scale": scale["up"],
                "peak_bits": (PEAK[act] * shape.hidden).bit_length(),
                **self._norm(f"{name}.ffn_sub_norm", ffn, "int8", shape.ffn),
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
        rows = [layout.words(self.array, row, TABLE_BITS, self.array.rows) for row in pairs]
        table = self.out.add("rope", np.concatenate(rows))
        code = [Instruction("embed", {
            "address": head, "tiles": self.tiles, "n": shape.hidden, "scale": embedding,
            "shift": weights.residual_frac, "vocab": shape.vocab, "table": table,
            "table_beats": len(rows[0]), "table_words": shape.head_dim // self.array.rows})]
        for index, layer in enumerate(weights.layers):
            code += self.layer(index, layer)
        blocks = 3 * self._blocks(shape.vocab)
        return [
            *code, self.quantise("final_norm", weights.final_gain, "int8", blocks),
            Instruction("head", {
                "address": head, "beats": blocks * self.tiles, "vocab": shape.vocab,
                "scale": embedding}),
            Instruction("end"),
        ]


def _instructions(layers: int) -> int:
    """Count the instructions of a token."""
    return 1 + 5 * layers + HEAD_INSTRUCTIONS


def sections_of(weights: DecoderWeights, config: DecoderConfig
                ) -> tuple[list[Section], list[Instruction], list[Beats]]:
    """Sections, the program, and the beats of each section."""
    size = layout.beat_bytes(config.array)
    count = _instructions(weights.shape.layers)
    compiler = _Compiler(weights, config, header_beats(size) + instruction_beats(size) * count)
    program = compiler.program()
    return compiler.out.sections, program, compiler.out.parts


def compile_model(weights: DecoderWeights, config: DecoderConfig,
                  config_hash: str) -> tuple[Image, Mapping[str, Section]]:
    """Compile a model into an image.

    Parameters
    ----------
    config
        Geometry of the decoder that is to run it.
    config_hash
        Of the accelerator that the image is for, 16 hexadecimal digits.

    Returns
    -------
    Image, dict
        The image, and its sections by name.

    Raises
    ------
    UserError
        The model does not fit.
    """
    check_fits(weights, config)
    sections, program, parts = sections_of(weights, config)
    facts = model_facts(weights, config.attention.cache, head_instructions=HEAD_INSTRUCTIONS)
    image = make_image(layout.beat_bytes(config.array), config_hash, model_hash(weights), program,
                       np.concatenate(parts), facts)
    return image, {section.name: section for section in sections}
