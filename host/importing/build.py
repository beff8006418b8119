# SPDX-License-Identifier: Apache-2.0
"""A checkpoint to a packed model, with a report of what became of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from golden_model.checkpoints import I2_S_BLOCK
from golden_model.config import WORD_BITS, Numerics
from golden_model.decoder import Capture
from golden_model.ffn.relu2_glu import check_widths
from golden_model.linear import carrier_for
from golden_model.quant.activations import PEAK
from golden_model.reference import ReferenceDecoder
from golden_model.weights import DecoderWeights, LayerWeights, gain_widths
from host.errors import UserError
from host.importing.embedding import EmbeddingError, quantize_embedding
from host.importing.gguf import open_gguf
from host.importing.hugging_face import open_hugging_face
from host.importing.source import Source
from host.model_file import save_model

__all__ = ["SCHEMES", "Imported", "MatrixRow", "import_model", "open_source", "write_model"]

SCHEMES: Mapping[str, Numerics] = MappingProxyType({
    "a48": Numerics(),
    "b158": Numerics(act_format="int8", topk_keep=(1, 1), kv_bits=16, bos_bits=16, q_bits=16,
                     p_bits=12),
})
"""Numerics by name: BitNet a4.8, and b1.58 as these checkpoints were trained."""

HEADROOM = 4
"""The residual word holds so many times the magnitude that was seen."""
CALIBRATION_TOKENS = 16
MAX_LAYERS = 1024


@dataclass(frozen=True)
class MatrixRow:
    """What became of one matrix."""

    name: str
    rows: int
    columns: int
    scale: float
    zeros: float
    """Share of trits that are zero."""


@dataclass
class Imported:
    """A model with the report of its import."""

    layout: str
    architecture: str
    weights: DecoderWeights
    embedding: EmbeddingError
    matrices: list[MatrixRow]
    notes: list[str] = field(default_factory=list)


def open_source(path: Path, scale: str | None = None, i2_s_block: int = I2_S_BLOCK) -> Source:
    """Open a checkpoint: a directory as Hugging Face has it, or a GGUF file."""
    try:
        directory = path.is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if directory:
        return open_hugging_face(path, scale)
    if path.name.endswith((".safetensors", ".json")):
        raise UserError(f"{path}: give the directory that holds it and its config.json")
    return open_gguf(path, i2_s_block)


def _check_widths(source: Source, numerics: Numerics) -> None:
    """Refuse what the integer model would refuse later."""
    shape, peak = source.shape, PEAK[numerics.act_format]
    try:
        check_widths(peak * shape.hidden)
        for _, columns in shape.projections.values():
            carrier_for(columns, 1, 128)
    except ValueError as error:
        raise source.tensors.wrong(str(error)) from error
    if shape.layers > MAX_LAYERS:
        raise source.tensors.wrong(f"{shape.layers} layers; {MAX_LAYERS} is the most")


def _layer(source: Source, index: int, rows: list[MatrixRow]) -> LayerWeights:
    matrices = {}
    for part in source.shape.projections:
        matrix = source.matrix(index, part)
        matrices[part] = matrix
        m, k = source.shape.projections[part]
        rows.append(MatrixRow(f"layers.{index}.{part}", m, k, matrix.scale,
                              float(np.mean(matrix.trits == 0))))
    gains = {norm: source.gain(index, norm) for norm in gain_widths(source.shape,
                                                                        source.sub_norms)}
    return LayerWeights(matrices=matrices, gains=gains)


def residual_peak(weights: DecoderWeights) -> float:
    """Largest magnitude of the residual stream on a few tokens spread over the vocabulary.

    The float model runs; the stream is the embedding and what Wo and Wdown add, layer by layer.
    """
    count = min(CALIBRATION_TOKENS, weights.shape.context)
    tokens = np.arange(count) * weights.shape.vocab // count
    capture: Capture = {}
    short = replace(weights, shape=replace(weights.shape, context=count))  # a small cache
    with np.errstate(all="ignore"):  # what is not finite is reported as infinite
        ReferenceDecoder(short).forward(tokens, capture)
        stream = weights.embedding[tokens] * weights.embedding_scale
        peak = np.abs(stream).max()
        for i in range(weights.shape.layers):
            for part in ("wo", "down"):
                trace = capture[f"layers.{i}.{part}"]
                stream = stream + trace.sums * trace.out_scale[:, None]
                peak = np.maximum(peak, np.abs(stream).max())
    return float(peak) if np.isfinite(peak) else math.inf


def import_model(source: Source, scheme: str = "b158", residual_frac: int | None = None,
                 progress: Callable[[str], None] = lambda _: None) -> Imported:
    """Read a whole checkpoint.

    Parameters
    ----------
    scheme
        Key of `SCHEMES`: what the packed model is to run with.
    residual_frac
        Fraction bits of the residual stream; found by running a few tokens unless given.
    progress
        Told each stage in a few words.

    Raises
    ------
    UserError
        A tensor is missing, left over, of another shape, or holds what cannot be represented.
    """
    numerics, shape = SCHEMES[scheme], source.shape
    _check_widths(source, numerics)
    progress("embedding")
    codes, error = quantize_embedding(source.embedding, (shape.vocab, shape.hidden),
                                      str(source.tensors.place))
    rows: list[MatrixRow] = []
    layers = []
    for i in range(shape.layers):
        progress(f"layer {i + 1} of {shape.layers}")
        layers.append(_layer(source, i, rows))
    final_gain = source.final_gain()
    source.finish()
    notes = list(source.notes)
    if not source.sub_norms:
        notes.append("No norm stands ahead of Wo and Wdown: the CPU runs it; the accelerator and "
                     "the GPU kernels always have one.")
    try:
        weights = DecoderWeights(
            shape=shape, numerics=numerics, residual_frac=residual_frac or 0, embedding=codes,
            embedding_scale=error.scale, final_gain=final_gain, layers=tuple(layers))
    except ValueError as wrong:
        raise source.tensors.wrong(str(wrong)) from wrong
    if residual_frac is None:
        progress(f"residual stream of {CALIBRATION_TOKENS} tokens")
        peak = residual_peak(weights)
        frac = WORD_BITS - 1 - math.ceil(math.log2(HEADROOM * min(max(peak, 2.0**-30), 2.0**30)))
        if frac < 0:
            raise source.tensors.wrong(f"its residual stream reaches {peak:g}, which a word of "
                                       f"{WORD_BITS} bits does not hold with headroom")
        weights = replace(weights, residual_frac=min(frac, WORD_BITS - 1))
        notes.append(f"The residual stream reached {peak:.4g} on {CALIBRATION_TOKENS} tokens: "
                     f"{weights.residual_frac} fraction bits leave {HEADROOM} times that.")
    return Imported(source.layout, source.architecture, weights, error, rows, notes)


def write_model(path: Path, weights: DecoderWeights, force: bool = False) -> None:
    """Write a packed model whole or not at all; an existing file is kept unless `force`."""
    if path.exists() and not force:
        raise UserError(f"{path} exists; --force replaces it")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"{path}: not a file in a directory that exists")
    try:
        save_model(path, weights)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    finally:  # an interrupt too leaves nothing half-done
        path.with_name(path.name + ".partial").unlink(missing_ok=True)
