# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.ternary_array`: values, packing, and every handshake."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.arrays import Ints
from golden_model.config import DIGIT_WEIGHT_BITS, ArrayConfig
from golden_model.formats import pack_2bit, pack_base3
from golden_model.linear import Linear
from golden_model.mac.accumulator import AccumulatorCycles, BeatTag
from golden_model.mac.tile_loader import Command, LoaderCycles
from golden_model.mac.tree_core import CoreCycles
from golden_model.mac.trit_unpacker import UnpackerCycles

__all__ = ["ArrayCycles", "Handshakes", "array_cycles", "command_for", "pack_weights",
           "ternary_array", "tile_activations"]


def command_for(config: ArrayConfig, m: int, k: int, digits: int = 1,
                reuse: bool = False, tokens: int = 1) -> Command:
    """Command for a matrix [m, k] and `tokens` vectors.

    Raises
    ------
    ValueError
        The matrix, the digits or the tokens exceed what `config` was built for.
    """
    limits = (("m", m, config.max_blocks * config.rows), ("k", k, config.max_k),
              ("digits", digits, config.max_digits), ("tokens", tokens, config.batch))
    for name, value, most in limits:
        if not 1 <= value <= most:
            raise ValueError(f"{name} must lie in 1..{most} for this array, not {value}")
    return Command(-(-m // config.rows), -(-k // config.lanes), digits, reuse, tokens)


def _tiles(config: ArrayConfig, values: Ints) -> Ints:
    """Last axis [K] as [tiles, lanes], filled up with zeros."""
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % config.lanes)]
    return np.pad(values, padding).reshape(*values.shape[:-1], -1, config.lanes)


def pack_weights(config: ArrayConfig, trits: ArrayLike) -> NDArray[np.uint8]:
    """Beats [blocks * tiles, bytes] of a matrix [M, K]: byte 0 is the least significant."""
    matrix = np.asarray(trits)
    rows = np.pad(matrix, [(0, -len(matrix) % config.rows), (0, 0)])
    tiles = _tiles(config, rows.astype(np.int64))
    blocks = tiles.reshape(-1, config.rows, tiles.shape[1], config.lanes).swapaxes(1, 2)
    pack = pack_2bit if config.packing == "2bit" else pack_base3
    per_byte = 4 if config.packing == "2bit" else 5
    beats = blocks.reshape(-1, config.macs_per_cycle)
    whole = np.pad(beats, [(0, 0), (0, -beats.shape[1] % per_byte)])
    return pack(whole.reshape(-1)).reshape(len(beats), -1)


def tile_activations(config: ArrayConfig, codes: ArrayLike, digits: int = 1) -> Ints:
    """Words [tiles * digits, lanes] of a vector [K], the high digit of each tile first.

    Vectors [tokens, K] have the words of the first token, then those of the second and so on.

    Raises
    ------
    ValueError
        A code does not fit: INT8 for two digits, else ``digit_bits`` bits.
    """
    values = np.asarray(codes, np.int64)
    peak = 128 if digits == 2 else -config.dot.digit_range.start
    if values.size and not (-peak <= values.min() and values.max() < peak):
        raise ValueError(f"codes of {digits} digit(s) must lie in {-peak}..{peak - 1}, not "
                         f"{values.min()}..{values.max()}")
    tiles = _tiles(config, values).reshape(-1, config.lanes)
    if digits == 1:
        return tiles
    low = tiles & (1 << DIGIT_WEIGHT_BITS) - 1
    return np.stack([tiles >> DIGIT_WEIGHT_BITS, low], axis=1).reshape(-1, config.lanes)


def ternary_array(config: ArrayConfig, trits: ArrayLike, codes: ArrayLike) -> Ints:
    """Results [blocks, rows] of one command, the rows beyond M included (they are zero).

    With codes [tokens, K] they are [blocks * tokens, rows]: those of all tokens for the first block
    of rows, then for the second.
    """
    vectors = np.atleast_2d(np.asarray(codes))
    sums = Linear(np.asarray(trits, np.int8), 1, 128)(vectors)
    padded = np.pad(sums, ((0, 0), (0, -sums.shape[1] % config.rows)))
    by_block: Ints = padded.reshape(len(vectors), -1, config.rows).swapaxes(0, 1)
    return by_block.reshape(-1, config.rows)


def array_cycles(config: ArrayConfig, m: int, k: int, digits: int = 1, commands: int = 1,
                 tokens: int = 1) -> int:
    """Cycles from a command's transfer to that of its last result, both included, without stalls.

    For `commands` alike in a row, each with activations of its own: all but the first are loaded
    behind the computation of the one before.
    """
    command = command_for(config, m, k, digits, tokens=tokens)
    return 1 + command.words * (1 + commands * command.blocks) + config.core_latency + 1


class Handshakes(NamedTuple):
    """What the array's ports answer in one cycle."""

    cmd_ready: bool
    x_ready: bool
    w_ready: bool
    o_valid: bool
    o_last: bool
    """Meaningful if ``o_valid``."""
    fire: bool
    """Inside: weights are multiplied in this cycle."""


class ArrayCycles:
    """Every handshake of the array, cycle by cycle: `step` takes what the ports are offered."""

    def __init__(self, config: ArrayConfig) -> None:
        self.loader = LoaderCycles(config)
        self.unpacker = UnpackerCycles()
        self.core: CoreCycles[BeatTag] = CoreCycles(config)
        self.accumulator = AccumulatorCycles()
        self.beat = 0
        """Beats of the current run that are done, digits and tokens counted."""

    def _next_beat(self) -> tuple[BeatTag | None, bool, bool]:
        """Beat offered to the core, whether it is its weights' last, and the run's last.

        Weights stay for the digits of the first token, then for those of the second and so on.
        """
        run = self.loader.run
        if run is None or not self.unpacker.valid:
            return None, False, False
        blocks, tiles, digits, _, tokens = run.command
        position, digit = divmod(self.beat, digits)
        position, token = divmod(position, tokens)
        block, tile = divmod(position, tiles)
        last_digit, last_token = digit + 1 == digits, token + 1 == tokens
        last = last_digit and tile + 1 == tiles
        final = last_token and block + 1 == blocks
        return BeatTag(not last_digit, last, final), last_digit and last_token, last and final

    def step(self, cmd: Command | None, x_valid: bool, w_valid: bool, o_ready: bool) -> Handshakes:
        """Return this cycle's answers and go on to the next cycle."""
        total_ready = self.accumulator.ready(self.core.tag, o_ready)
        core_ready = self.core.ready(total_ready)
        beat, beat_ends, run_ends = self._next_beat()
        fire = beat is not None and core_ready
        answers = Handshakes(
            cmd_ready=self.loader.cmd_ready(x_valid), x_ready=self.loader.x_ready,
            w_ready=self.unpacker.ready(fire and beat_ends), o_valid=self.accumulator.valid,
            o_last=self.accumulator.last, fire=fire)
        if fire:
            self.beat = 0 if run_ends else self.beat + 1
        self.accumulator.tick(self.core.tag, o_ready)
        self.core.tick(beat, total_ready)
        self.unpacker.tick(w_valid, fire and beat_ends)
        self.loader.tick(cmd, x_valid, fire and run_ends)
        return answers
