# SPDX-License-Identifier: Apache-2.0
"""The instruction set: what a program of the sequencer is made of (standard library only).

An instruction is `INSTRUCTION_BITS` bits in as many whole beats of the image as they need, the
opcode in the lowest bits, then its fields in the order of `FIELDS`.  Lengths count elements,
addresses and blocks count beats.  ``docs/program.md`` says what each instruction does.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FIELDS", "HEADER", "HEADER_BITS", "INSTRUCTION_BITS", "MAGIC", "OPCODES", "OPCODE_BITS"]

OPCODE_BITS = 4
INSTRUCTION_BITS = 384

_ADDRESS, _BEATS, _COUNT, _BLOCKS, _TILES, _FLOAT, _SHIFT, _HEADS = 32, 32, 20, 20, 12, 24, 8, 8

FIELDS: Mapping[str, Mapping[str, int]] = MappingProxyType({name: MappingProxyType(fields)
                                                            for name, fields in {
    # The end of a token.
    "end": {},
    # Words of the residual stream: one row of the embedding times its scale.  The position's
    # rotations.
    "embed": {"address": _ADDRESS, "tiles": _TILES, "n": _COUNT, "scale": _FLOAT,
              "shift": _SHIFT, "vocab": 24, "table": _ADDRESS, "table_beats": _TILES,
              "table_words": _TILES},
    # Codes of the residual stream: for the array, whose next run has so many blocks, and, unless
    # `up_blocks` is 0, for the up rows.
    "quantise": {"n": _COUNT, "gain": _ADDRESS, "gain_beats": _TILES, "format": 2,
                 "levels": _FLOAT, "scale": _FLOAT, "norm_scale": _FLOAT, "eps": _FLOAT,
                 "blocks": _BLOCKS, "tiles": _TILES, "up_blocks": _TILES},
    # Keys, values and queries of those codes; rotation; their codes; into the cache; attention of
    # all heads over it.
    "attend": {"layer": 8, "stream": 16, "address": _ADDRESS, "beats": _BEATS,
               "heads": _HEADS, "kv_heads": _HEADS, "n": _TILES, "words": _HEADS,
               "passes": _HEADS, "shared": _HEADS, "alpha_q": _FLOAT, "alpha_k": _FLOAT,
               "alpha_v": _FLOAT, "score_scale": _FLOAT},
    # Wo: codes of what attention gave, the largest kept, added to the residual stream.
    "output": {"n": _COUNT, "keep": _COUNT, "gain": _ADDRESS, "gain_beats": _TILES,
               "levels": _FLOAT, "norm_scale": _FLOAT, "eps": _FLOAT, "address": _ADDRESS,
               "blocks": _TILES, "alpha": _FLOAT, "shift": _SHIFT},
    # Gate, up rows, Wdown, added to the residual stream.
    "feed_forward": {"n": _COUNT, "gate_address": _ADDRESS, "gate_beats": _BEATS,
                     "gate_scale": _FLOAT, "up_address": _ADDRESS, "up_blocks": _TILES,
                     "up_scale": _FLOAT, "peak_bits": 6, "gain": _ADDRESS, "gain_beats": _TILES,
                     "levels": _FLOAT, "norm_scale": _FLOAT, "eps": _FLOAT,
                     "down_address": _ADDRESS, "down_blocks": _TILES, "alpha": _FLOAT,
                     "shift": _SHIFT},
    # Logits of those codes, and the token that follows from them.
    "head": {"address": _ADDRESS, "beats": _BEATS, "vocab": 24, "scale": _FLOAT},
}.items()})
"""Fields of each instruction with their bits."""

OPCODES: Mapping[str, int] = MappingProxyType({name: n for n, name in enumerate(FIELDS)})
"""Code of each instruction; what is above them is refused."""

MAGIC = 0x31464954
"""``TIF1`` in the first four bytes of an image."""

HEADER: Mapping[str, int] = MappingProxyType({
    "magic": 32,
    "crc": 32,            # CRC-32 (IEEE 802.3) of the whole image, these two fields taken as zero
    "beats": 32,          # of the whole image
    "program": 32,        # address of the first instruction
    "instructions": 16,   # in the program
    "config_hash": 64,    # of the accelerator's configuration
    "model_hash": 64,     # of the model that was compiled
    "vocab": 20,          # tokens that the model knows
    "context": 20,        # positions that it has angles for
    "slots": 8,           # sequences that fit the KV cache
    "streams": 12,        # KV heads of all layers
    "words": 8,           # memory words of a row of the KV cache
    "window": 16,         # tokens of a sequence that the KV cache keeps
    "state_words": 20,    # words of 32 bits that a token takes in a saved sequence
    "head_instructions": 8,   # last ones of the program: a token whose successor nobody wants
                              # leaves them out
})
"""Fields of an image's header with their bits; it stands at address 0, in whole beats."""

HEADER_BITS = sum(HEADER.values())
