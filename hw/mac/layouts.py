# SPDX-License-Identifier: Apache-2.0
"""Payloads of the ternary array's streams; benches pack and unpack with the same objects."""

from amaranth import *
from amaranth.lib import data

from golden_model.config import ArrayConfig, TernaryDotConfig

__all__ = ["address", "beat_tag", "command", "dot_operands", "index", "result", "run", "sums",
           "tag", "weights", "word"]

tag = data.StructLayout({"high": 1, "last": 1, "final": 1})
"""What goes with a beat: its digit is a high one; it ends a block of rows; that block is the
command's last."""


def beat_tag(config: ArrayConfig):
    """Return `tag`, with a batch also the beat's token and whether it is its block's first."""
    first = {"first": 1} if config.batch > 1 else {}
    return data.StructLayout({**tag.members, **_token(config), **first})


def dot_operands(config: TernaryDotConfig):
    """Weights and activations of one dot product."""
    return data.StructLayout({
        "w": data.ArrayLayout(signed(2), config.lanes),
        "x": data.ArrayLayout(signed(config.digit_bits), config.lanes),
    })


def index(count):
    """Shape of an index below `count`, one bit at least: Verilog has no vector of none."""
    return range(max(2, count))


def command(config: ArrayConfig):
    """Return counts, from 1, and whether the previous command's activations serve again."""
    more = {"tokens": range(config.batch + 1)} if config.batch > 1 else {}
    return data.StructLayout({
        "blocks": range(config.max_blocks + 1),
        "tiles": range(config.max_tiles + 1),
        "digits": range(config.max_digits + 1),
        "reuse": 1,
        **more,
    })


def _token(config: ArrayConfig):
    return {"token": range(config.batch)} if config.batch > 1 else {}


def run(config: ArrayConfig):
    """Last indices of a command whose activations are in place, and their bank."""
    return data.StructLayout({
        "block": index(config.max_blocks),
        "tile": index(config.max_tiles),
        "digit": index(config.max_digits),
        "bank": 1,
        **_token(config),
    })


def address(config: ArrayConfig):
    """Address of one word of activations; its bits are the storage's address."""
    return data.StructLayout({
        "digit": index(config.max_digits),
        "tile": index(config.max_tiles),
        "bank": 1,
        **_token(config),
    })


def word(config: ArrayConfig):
    """One digit of one tile of activations."""
    return data.ArrayLayout(signed(config.digit_bits), config.lanes)


def weights(config: ArrayConfig):
    """One beat of trits, ``[row][lane]``."""
    return data.ArrayLayout(data.ArrayLayout(signed(2), config.lanes), config.rows)


def sums(config: ArrayConfig):
    """Dot products of one beat."""
    return data.ArrayLayout(Shape.cast(config.dot.sum_range), config.rows)


def result(config: ArrayConfig):
    """Results of one block of rows, and whether it is the command's last."""
    return data.StructLayout({
        "sums": data.ArrayLayout(signed(config.acc_bits), config.rows),
        "last": 1,
    })
