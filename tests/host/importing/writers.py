# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in others' layouts, written from a packed model's weights (for tests)."""

import json
import struct

import numpy as np

from golden_model.config import ModelShape, Numerics
from golden_model.weights import random_weights

__all__ = ["SHAPE", "WIDE", "config_of", "entries_of", "gguf_bytes", "gguf_of", "model",
           "pack_hf", "pack_i2_s", "pack_tq1_0", "pack_tq2_0", "safetensors_bytes", "write_hf"]

SHAPE = ModelShape(vocab=37, hidden=24, ffn=40, layers=2, heads=4, kv_heads=2, head_dim=6,
                   context=24, rope_theta=500_000.0)
# GGUF's blocks of 256 want rows of whole blocks.
WIDE = ModelShape(vocab=29, hidden=256, ffn=512, layers=1, heads=4, kv_heads=2, head_dim=64,
                  context=16, rope_theta=500_000.0)
HF_PARTS = {"wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj",
            "wo": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
            "down": "mlp.down_proj"}
HF_NORMS = {"input_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
            "attn_sub_norm": "self_attn.attn_sub_norm", "ffn_sub_norm": "mlp.ffn_sub_norm"}
OLD_NORMS = HF_NORMS | {"attn_sub_norm": "self_attn.inner_attn_ln",
                        "ffn_sub_norm": "mlp.ffn_layernorm"}
GGUF_PARTS = {"wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output",
              "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
GGUF_NORMS = {"input_norm": "attn_norm", "attn_sub_norm": "attn_sub_norm", "ffn_norm": "ffn_norm",
              "ffn_sub_norm": "ffn_sub_norm"}


def model(shape=SHAPE, seed=3):
    return random_weights(shape, Numerics(), seed)


def bfloat16(values):
    """Bits of float32 values that bfloat16 holds exactly."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype("<u2").tobytes()


def f32(values):
    values = np.asarray(values, "<f4")
    return "F32", list(values.shape), values.tobytes()


def pack_hf(trits):
    quarters = np.split((trits + 1).astype(np.uint8), 4)
    return sum(part << 2 * i for i, part in enumerate(quarters)).astype(np.uint8)


def entries_of(weights, scales="multiply", norms=HF_NORMS, masters=None):
    """Tensors of a Hugging Face checkpoint: name to (dtype, shape, bytes)."""
    tensors = {}
    for i, layer in enumerate(weights.layers):
        stem = f"model.layers.{i}."
        for part, matrix in layer.matrices.items():
            name = f"{stem}{HF_PARTS[part]}"
            if masters is not None:
                values = masters[i, part]
                tensors[f"{name}.weight"] = "BF16", list(values.shape), bfloat16(values)
                continue
            packed = pack_hf(matrix.trits)
            tensors[f"{name}.weight"] = "U8", list(packed.shape), packed.tobytes()
            alpha = matrix.scale if scales == "multiply" else 1 / matrix.scale
            tensors[f"{name}.weight_scale"] = f32([alpha])
        for norm, gain in layer.gains.items():
            tensors[f"{stem}{norms[norm]}.weight"] = f32(gain)
    tensors["model.norm.weight"] = f32(weights.final_gain)
    table = weights.embedding * np.float32(weights.embedding_scale)
    tensors["model.embed_tokens.weight"] = "BF16", list(table.shape), bfloat16(table)
    return tensors


def safetensors_bytes(tensors, **header):
    described, data = dict(header), b""
    for name, (dtype, shape, raw) in tensors.items():
        described[name] = {"dtype": dtype, "shape": shape,
                           "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text + data


def config_of(shape, **changes):
    config = {
        "architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2",
        "vocab_size": shape.vocab, "hidden_size": shape.hidden, "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta, "rms_norm_eps": shape.rms_eps,
        "tie_word_embeddings": True,
        "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                "quantization_mode": "offline"}}
    return {key: value for key, value in (config | changes).items() if value is not ...}


def write_hf(path, tensors, config):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    return path


def half(value):
    return struct.pack("<e", value)


def pack_tq2_0(trits, scale):
    blocks = (trits.reshape(-1, 2, 4, 32) + 1).astype(np.uint8)  # half, n, m
    packed = sum(blocks[:, :, n] << 2 * n for n in range(4)).astype(np.uint8)
    return b"".join(block.tobytes() + half(scale) for block in packed)


def pack_tq1_0(trits, scale):
    def stored(codes):  # [five trits or four, bytes]
        codes = np.concatenate([codes, np.zeros((5 - len(codes), codes.shape[1]), np.int64)])
        value = np.array([81, 27, 9, 3, 1]) @ codes
        return (-(-value * 256 // 243)).astype(np.uint8).tobytes()

    out = b""
    for block in (trits.reshape(-1, 256) + 1).astype(np.int64):
        out += stored(block[:160].reshape(5, 32)) + stored(block[160:240].reshape(5, 16))
        out += stored(block[240:].reshape(4, 4)) + half(scale)
    return out


def pack_i2_s(trits, scale, block=128):
    groups = (trits.reshape(-1, 4, block // 4) + 1).astype(np.uint8)
    packed = sum(groups[:, g] << 6 - 2 * g for g in range(4)).astype(np.uint8)
    return packed.tobytes() + struct.pack("<f", scale) + bytes(28)


GGUF_TYPES = {"F32": 0, "F16": 1, "TQ1_0": 34, "TQ2_0": 35, "I2_S": 36}
PACKERS = {"TQ1_0": pack_tq1_0, "TQ2_0": pack_tq2_0, "I2_S": pack_i2_s}


def gguf_string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(value):
    """Type and bytes of a metadata value; bytes are taken as they are."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return struct.pack("<I", 8) + gguf_string(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(gguf_string, value))
    return struct.pack("<II", 4, value)


def gguf_bytes(metadata, tensors, alignment=32, version=3):
    """Write metadata and tensors: name to (type, dims with the fastest first, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += gguf_string(key) + gguf_value(value)
    data = b""
    for name, (kind, dims, raw) in tensors.items():
        number = GGUF_TYPES.get(kind, kind)
        head += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number,
                                                len(data))
        data += raw + bytes(-len(raw) % alignment)
    return head + bytes(-len(head) % alignment) + data


def gguf_metadata(shape, architecture="bitnet-b1.58"):
    values = {"embedding_length": shape.hidden, "block_count": shape.layers,
              "feed_forward_length": shape.ffn, "context_length": shape.context,
              "attention.head_count": shape.heads, "attention.head_count_kv": shape.kv_heads,
              "attention.layer_norm_rms_epsilon": shape.rms_eps,
              "rope.dimension_count": shape.head_dim, "rope.freq_base": shape.rope_theta,
              "vocab_size": shape.vocab}
    return {"general.architecture": architecture,
            "tokenizer.ggml.tokens": [f"t{i}" for i in range(shape.vocab)],
            **{f"{architecture}.{key}": value for key, value in values.items()}}


def gguf_of(weights, kind, **options):
    """Metadata and tensors of a GGUF file whose matrices are of type `kind`."""
    tensors = {}

    def plain(name, values):
        values = np.asarray(values, "<f4")
        tensors[name] = "F32", list(values.shape)[::-1], values.tobytes()

    table = (weights.embedding * np.float32(weights.embedding_scale)).astype("<f2")
    tensors["token_embd.weight"] = "F16", list(table.shape)[::-1], table.tobytes()
    plain("output_norm.weight", weights.final_gain)
    for i, layer in enumerate(weights.layers):
        for part, matrix in layer.matrices.items():
            raw = PACKERS[kind](matrix.trits, matrix.scale, **options)
            name = f"blk.{i}.{GGUF_PARTS[part]}.weight"
            tensors[name] = kind, list(matrix.trits.shape)[::-1], raw
        for norm, gain in layer.gains.items():
            plain(f"blk.{i}.{GGUF_NORMS[norm]}.weight", gain)
    return gguf_metadata(weights.shape), tensors
