# SPDX-License-Identifier: Apache-2.0
"""A directory as Hugging Face has it: ``config.json`` beside safetensors.

Weights are ``bitnet`` codes packed in uint8 with a ``weight_scale``, or floats: masters, which are
quantised here as training does it, or trits that a ``weight_scale`` goes with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Floats
from golden_model.checkpoints import unpack_hf
from golden_model.config import ModelShape
from golden_model.weights import SUB_NORMS, TernaryMatrix, gain_widths
from host.errors import UserError
from host.importing.files import Tensors, read_small, shown
from host.importing.safetensors_reader import parse_json, read_safetensors, read_sharded
from host.importing.source import Source, absmean, cut_context, ternary_of

__all__ = ["SCALES", "HuggingFace", "open_hugging_face"]

MAX_CONFIG = 1 << 20
ARCHITECTURES = ("BitNetForCausalLM", "BitnetForCausalLM", "LlamaForCausalLM")
SCALES = ("multiply", "divide")
"""What a ``weight_scale`` does to the integer sum."""

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
MATRICES = {"wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj",
            "wo": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
            "down": "mlp.down_proj"}
GAINS = {"input_norm": ("input_layernorm",), "ffn_norm": ("post_attention_layernorm",),
         # Both spellings are in use.
         "attn_sub_norm": ("self_attn.attn_sub_norm", "self_attn.inner_attn_ln"),
         "ffn_sub_norm": ("mlp.ffn_sub_norm", "mlp.ffn_layernorm")}
PLACES = {"attn_sub_norm": "Wo", "ffn_sub_norm": "Wdown"}


@dataclass
class HuggingFace(Source):
    """See :func:`open_hugging_face`."""

    scale: str = "multiply"

    @property
    def sub_norms(self) -> bool:
        """Whether any layer has a norm ahead of Wo or Wdown."""
        ends = tuple(f".{spelling}.weight" for norm in SUB_NORMS for spelling in GAINS[norm])
        return any(name.endswith(ends) for name in self.tensors.entries)

    def matrix(self, layer: int, part: str) -> TernaryMatrix:
        """Ternary matrix of a layer by the name of its projection."""
        stem = f"model.layers.{layer}.{MATRICES[part]}"
        weight, scale_name, tensors = f"{stem}.weight", f"{stem}.weight_scale", self.tensors
        m, k = self.shape.projections[part]
        if f"{stem}.bias" in tensors:
            raise tensors.wrong(f"tensor {shown(stem + '.bias')}: a linear layer has no bias here")
        entry = tensors.entry(weight)
        if entry.dtype == "U8":
            if m % 4:
                raise tensors.wrong(f"tensor {shown(weight)}: {m} rows are no multiple of 4, "
                                    "as four a byte need")
            tensors.shaped(weight, (m // 4, k), "U8")
            packed = np.frombuffer(tensors.raw(entry), np.uint8).reshape(m // 4, k)
            try:
                trits = unpack_hf(packed)
            except ValueError as error:
                raise tensors.wrong(f"tensor {shown(weight)}: {error}") from error
        else:
            values = tensors.floats(weight, (m, k))
            if scale_name not in tensors:
                return ternary_of(tensors, weight, *absmean(values))
            trits = np.clip(values, -1, 1).astype(np.int8)
            if not np.array_equal(trits, values):
                raise tensors.wrong(f"tensor {shown(weight)} comes with a weight_scale, but holds "
                                    "other values than -1, 0 and 1")
        alpha = tensors.scalar(scale_name)
        return ternary_of(tensors, scale_name, trits,
                          alpha if self.scale == "multiply" else 1 / alpha)

    def gain(self, layer: int, norm: str) -> Floats:
        """RMSNorm gain of a layer by its name."""
        stem = f"model.layers.{layer}."
        names = [f"{stem}{spelling}.weight" for spelling in GAINS[norm]]
        found = [name for name in names if name in self.tensors]
        if not found and norm in PLACES:
            raise self.tensors.wrong(
                f"layer {layer} has no norm ahead of {PLACES[norm]} ({' or '.join(names)}), "
                "though others have it")
        name = found[0] if found else names[0]
        width = gain_widths(self.shape)[norm]
        return self.tensors.floats(name, (width,)).astype(np.float64)

    def final_gain(self) -> Floats:
        """RMSNorm gain ahead of the LM head."""
        return self.tensors.floats("model.norm.weight", (self.shape.hidden,)).astype(np.float64)

    def embedding(self) -> Iterator[NDArray[np.float32]]:
        """Rows [n, hidden] of the embedding, in order."""
        return self.tensors.rows(EMBEDDING, (self.shape.vocab, self.shape.hidden))

    def finish(self) -> None:
        """Refuse an LM head of its own, and tensors that no one asked for."""
        if HEAD in self.tensors:
            size = (self.shape.vocab, self.shape.hidden)
            pairs = zip(self.tensors.rows(HEAD, size), self.embedding(), strict=True)
            if not all(np.array_equal(head, rows) for head, rows in pairs):
                raise self.tensors.wrong("its LM head differs from its embedding; the packed model "
                                         "has one matrix for both")
        self.tensors.left = {name for name in self.tensors.left
                             if not name.endswith(".rotary_emb.inv_freq")}
        super().finish()


class _Config:
    """``config.json``, field by field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields = parse_json(read_small(path, MAX_CONFIG), str(path))

    def wrong(self, message: str) -> UserError:
        return UserError(f"{self.path}: {message}")

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.fields.get(name)
        value = default if value is None else value
        if type(value) is not int or not 0 < value < 1 << 31:
            raise self.wrong(f"{name} must be a positive integer, not {shown(str(value))}")
        return value

    def real(self, fields: dict[str, Any], name: str) -> float:
        value: Any = fields.get(name)
        if type(value) not in (int, float) or not abs(value) < 1 << 53:
            raise self.wrong(f"{name} must be a number, not {shown(str(value))}")
        return float(value)

    def part(self, name: str) -> dict[str, Any]:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(f"{name} must be an object, not {shown(str(value))}")
        return value or {}


def _architecture(config: _Config) -> str:
    names = config.fields.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 else None
    if name not in ARCHITECTURES:
        raise config.wrong(f"architectures is {shown(str(names))}; what is read is "
                           f"{', '.join(ARCHITECTURES)}")
    activation = config.fields.get("hidden_act")
    if activation != "relu2":
        raise config.wrong(f"hidden_act is {shown(str(activation))}; the accelerator computes "
                           "relu2 and nothing else")
    for flag in ("attention_bias", "mlp_bias"):
        if config.fields.get(flag) not in (None, False):
            raise config.wrong(f"{flag} is set; a linear layer has no bias here")
    return str(name)


def _rope_theta(config: _Config) -> float:
    """Return the base of the rotary angles; scaled angles are refused."""
    fields = config.part("rope_parameters")
    for name in ("rope_scaling", "rope_parameters"):
        part = config.part(name)
        kind = part.get("rope_type", part.get("type", "default"))
        if kind != "default" and not (kind == "linear" and part.get("factor") == 1):
            raise config.wrong(f"{name} asks for {shown(str(kind))}; angles are not scaled here")
    return config.real(fields if "rope_theta" in fields else config.fields, "rope_theta")


def _scale_convention(config: _Config, asked: str | None) -> tuple[str, str]:
    """Say what a weight_scale does, and why."""
    part = config.part("quantization_config")
    method = part.get("quant_method", "bitnet")
    if method != "bitnet":
        raise config.wrong(f"quant_method is {shown(str(method))}, not 'bitnet'")
    if part.get("use_rms_norm") not in (None, False):
        raise config.wrong("use_rms_norm asks for a second norm inside every linear layer, which "
                           "the accelerator does not have")
    linear = part.get("linear_class", "bitlinear")
    if linear not in ("bitlinear", "autobitlinear"):
        raise config.wrong(f"linear_class is {shown(str(linear))}, neither 'bitlinear' nor "
                           "'autobitlinear'")
    if asked is not None:
        return asked, f"A weight_scale is taken to {asked}, as asked."
    found = "multiply" if linear == "autobitlinear" else "divide"
    return found, f"A weight_scale is taken to {found}, as linear_class {linear!r} does."


def _tensors(directory: Path) -> Tensors:
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.exists():
        return read_safetensors(single)
    if index.exists():
        return read_sharded(index)
    raise UserError(f"{directory}: it holds neither {single.name} nor {index.name}")


def open_hugging_face(directory: Path, scale: str | None = None) -> HuggingFace:
    """Open a checkpoint.

    Parameters
    ----------
    directory
        Holds ``config.json`` and ``model.safetensors``, or an index with its shards.
    scale
        What a ``weight_scale`` does, one of `SCALES`; as ``quantization_config`` has it unless
        given.

    Raises
    ------
    UserError
        A file is missing or unsound, or the model is one that the accelerator does not compute.
    """
    config = _Config(directory / "config.json")
    architecture, notes = _architecture(config), list[str]()
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
    try:
        shape = ModelShape(
            vocab=config.whole("vocab_size"), hidden=hidden, heads=heads,
            layers=config.whole("num_hidden_layers"), ffn=config.whole("intermediate_size"),
            kv_heads=config.whole("num_key_value_heads", heads),
            head_dim=config.whole("head_dim", max(1, hidden // heads)),
            context=cut_context(config.whole("max_position_embeddings"), notes),
            rope_theta=_rope_theta(config), rms_eps=config.real(config.fields, "rms_norm_eps"))
    except ValueError as error:
        raise config.wrong(str(error)) from error
    convention, why = _scale_convention(config, scale)
    tensors = _tensors(directory)
    weight = f"model.layers.0.{MATRICES['wq']}.weight"
    packed = weight in tensors and tensors.entries[weight].dtype == "U8"
    if any(name.endswith(".weight_scale") for name in tensors.entries):
        notes.append(why)
    else:
        notes.append("Weights are masters: each matrix is quantised by its mean magnitude.")
    return HuggingFace(layout="HF packed uint8" if packed else "HF floats", shape=shape,
                       architecture=architecture, tensors=tensors, notes=notes, scale=convention)
