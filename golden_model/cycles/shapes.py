# SPDX-License-Identifier: Apache-2.0
"""Programs, facts and bounds of a model of which only the shape is known."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from golden_model.attention.attention import bounds as attention_bounds
from golden_model.attention.cached_attention import command_fields
from golden_model.config import ModelShape, Numerics
from golden_model.cycles.facts import LayerFacts, TokenFacts
from golden_model.cycles.vectors import DIGITS
from golden_model.decoder_config import DecoderConfig
from golden_model.head_config import PLANES
from golden_model.image_config import SplitterConfig
from golden_model.instruction_config import FIELDS
from golden_model.program import Instruction

__all__ = ["FORMATS", "HEAD_INSTRUCTIONS", "Bounds", "bounds", "random_facts", "shape_program",
           "work"]

FORMATS = {"int4": 0, "fp4": 1, "int8": 2}
"""The quantiser's formats."""

HEAD_INSTRUCTIONS = 3
"""Last instructions, which a token without a successor leaves out."""

_TABLE_BITS = 16


class Bounds(NamedTuple):
    """Least cycles of a token by what the parts of the work take alone."""

    weights: int
    """Beats of weights that are read, one a cycle."""
    compute: int
    """The same, each as often as its engine works on it: twice for two digits."""
    kv: int
    """Words of keys and of values that attention reads, both at once."""

    @property
    def binds(self) -> str:
        """Name of the largest."""
        return max(self._fields, key=lambda name: int(getattr(self, name)))


def _instruction(name: str, **fields: int) -> Instruction:
    """Return an instruction whose other fields are 0: they do not change its cycles."""
    return Instruction(name, dict.fromkeys(FIELDS[name], 0) | fields)


def shape_program(shape: ModelShape, numerics: Numerics, config: DecoderConfig,
                  layers: int | None = None) -> list[Instruction]:
    """Program of a model of that shape, its addresses and scales left out.

    `layers`: how many of them; all unless given.
    """
    rows, width, lanes = config.array.rows, config.width, config.lanes
    tiles, wide = -(-shape.hidden // config.array.lanes), -(-shape.hidden // width)
    gains = config.gains.splitter.per_beat
    turns = SplitterConfig(beat_bits=config.port.beat_bits, word_bits=_TABLE_BITS * rows).per_beat

    def blocks(outputs: int) -> int:
        return -(-outputs // rows)

    def norm(n: int) -> dict[str, int]:
        return {"n": n, "gain_beats": -(-n // (lanes * gains))}

    def quantise(fmt: str, outputs: int, up_blocks: int = 0) -> Instruction:
        return _instruction("quantise", **norm(shape.hidden), format=FORMATS[fmt],
                            blocks=outputs, tiles=tiles, up_blocks=up_blocks)

    act, kept = numerics.act_format, numerics.topk_keep
    qkv = blocks(shape.q_dim + 2 * shape.kv_dim)
    heads = command_fields(config.attention, shape.heads, shape.kv_heads, shape.head_dim)
    layer = [
        quantise(act, qkv),
        _instruction("attend", beats=qkv * tiles, **{
            name: heads[name] for name in ("heads", "kv_heads", "n", "words", "passes", "shared")}),
        _instruction("output", **norm(shape.q_dim), keep=shape.q_dim * kept[0] // kept[1],
                     blocks=wide),
        quantise(act, blocks(shape.ffn), wide),
        _instruction("feed_forward", **norm(shape.ffn), gate_beats=blocks(shape.ffn) * tiles,
                     up_blocks=wide, down_blocks=wide),
    ]
    planes = PLANES * blocks(shape.vocab)
    words = shape.head_dim // rows
    return [
        _instruction("embed", n=shape.hidden, tiles=tiles, vocab=shape.vocab, table_words=words,
                     table_beats=-(-words // turns)),
        *layer * (shape.layers if layers is None else layers),
        quantise("int8", planes),
        _instruction("head", beats=planes * tiles, vocab=shape.vocab),
        _instruction("end"),
    ]


def random_facts(shape: ModelShape, config: DecoderConfig, shares: Mapping[str, float], rows: int,
                 *, layers: int | None = None, seed: int = 1) -> TokenFacts:
    """Facts of a token whose zeros lie at random.

    Parameters
    ----------
    shares
        Of inputs that count at ``wo`` and ``down``, and of ``up`` rows; an input of Wdown counts
        only if its gate does.
    """
    rng = np.random.default_rng(seed)
    lanes, height = config.lanes, config.array.rows

    def layer() -> LayerFacts:
        order = rng.permutation(shape.ffn)
        active = order[:round(shares["up"] * shape.ffn)]
        counted = order[:round(shares["down"] * shape.ffn)]
        kept = rng.permutation(shape.q_dim)[:round(shares["wo"] * shape.q_dim)]
        masks: list[list[int]] = [[] for _ in range(-(-shape.ffn // height))]
        for gate in np.sort(active).tolist():
            masks[gate // height].append(gate % height)
        return LayerFacts(_counts(kept, shape.q_dim, lanes), tuple(map(tuple, masks)),
                          _counts(counted, shape.ffn, lanes))

    count = shape.layers if layers is None else layers
    return TokenFacts(tuple(layer() for _ in range(count)), rows)


def _counts(places: np.ndarray[tuple[int], np.dtype[np.int64]], n: int,
            lanes: int) -> tuple[int, ...]:
    return tuple(np.bincount(places // lanes, minlength=-(-n // lanes)).tolist())


def work(config: DecoderConfig, program: Sequence[Instruction],
         facts: TokenFacts) -> list[Bounds]:
    """Bounds of each instruction: what it has to read and multiply, one beat a cycle."""
    found = []
    layers, now, digits = iter(facts.layers), facts.layers[0], 1
    for each in program:
        fields, beats, times, kv = each.fields, 0, 1, 0
        if each.name == "quantise":
            digits = DIGITS[fields["format"]]
        elif each.name == "attend":
            now, beats, times = next(layers), fields["beats"], digits
            kv = attention_bounds(config.attention.attention, fields["heads"], fields["kv_heads"],
                                  facts.rows, fields["n"])["engines"]
        elif each.name == "output":
            beats = sum(now.output) * fields["blocks"]
        elif each.name == "feed_forward":
            beats = (fields["gate_beats"] + sum(map(len, now.gates)) * fields["up_blocks"]
                     + sum(now.down) * fields["down_blocks"])
        elif each.name == "head":
            beats, times = fields["beats"], digits
        elif each.name == "embed":
            beats = PLANES * fields["tiles"]
        found.append(Bounds(beats, beats * times, kv))
    return found


def bounds(config: DecoderConfig, program: Sequence[Instruction], facts: TokenFacts) -> Bounds:
    """Bounds of a whole token."""
    return Bounds(*map(sum, zip(*work(config, program, facts), strict=True)))
