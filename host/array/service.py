# SPDX-License-Identifier: Apache-2.0
"""What an array of ternary weights offers a host: matrices to keep, products to compute."""

from typing import NamedTuple, Protocol

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.config import ArrayConfig
from golden_model.formats import unpack_2bit, unpack_base3
from golden_model.mac.ternary_array import (
    command_for,
    pack_weights,
    ternary_array,
    tile_activations,
)
from host.errors import TritforgeError

__all__ = ["ArrayEngine", "ArrayError", "ArrayRefusedError", "ArrayService", "Bank",
           "ModelEngine", "Placed",
           "check_product"]


class ArrayError(TritforgeError):
    """The array failed: what it computes cannot be had, or cannot be relied on."""


class ArrayRefusedError(ArrayError):
    """The product is beyond what the array was built for; the array is as it was."""


class Placed(NamedTuple):
    """A matrix as the array takes it."""

    rows: int
    columns: int
    beats: list[int]
    """Beats of packed trits, in the order in which they are multiplied."""


class ArrayService(Protocol):
    """One array; every method may raise `ArrayError`."""

    @property
    def config(self) -> ArrayConfig:
        """Geometry of the array."""

    def place(self, trits: Codes) -> int:
        """Keep a matrix [M, K] of trits, and return its number."""

    def multiply(self, matrix: int, codes: Codes, digits: int) -> Ints:
        """Multiply codes [K] with a matrix that was placed: sums [M].

        Parameters
        ----------
        digits
            1 for INT4 and FP4, 2 for INT8.
        """

    def close(self) -> None:
        """Let go of the array."""


class ArrayEngine(Protocol):
    """What multiplies: hardware, simulated hardware, or a model of it."""

    @property
    def config(self) -> ArrayConfig:
        """Geometry of the array."""

    def run(self, matrix: Placed, codes: Codes, digits: int) -> Ints:
        """Return the sums [M] of a product within the limits."""

    def close(self) -> None:
        """Let go of it."""


def check_product(config: ArrayConfig, rows: int, columns: int, digits: int) -> None:
    """Raise `ArrayRefusedError`, naming value, limit and knob, unless an array can multiply so."""
    for name, value, most, knob in (
            ("rows", rows, config.max_blocks * config.rows, "array.max_m"),
            ("columns", columns, config.max_k, "array.max_k"),
            ("digits an activation", digits, config.max_digits, "array.digit_bits")):
        if not 1 <= value <= most:
            raise ArrayRefusedError(f"the product has {value} {name}, the array takes 1 to {most} "
                                    f"({knob})")


class Bank:
    """Matrices that were placed, in front of an engine; see `ArrayService`."""

    def __init__(self, engine: ArrayEngine) -> None:
        self.engine = engine
        self._matrices: list[Placed] = []
        self.products = 0
        """Products computed."""

    @property
    def config(self) -> ArrayConfig:
        """Geometry of the array."""
        return self.engine.config

    def place(self, trits: Codes) -> int:
        """Keep a matrix [M, K] of trits, and return its number."""
        if trits.ndim != 2 or not trits.size or int(np.abs(trits).max()) > 1:
            raise ArrayRefusedError("a matrix [M, K] of trits is wanted")
        rows, columns = trits.shape
        check_product(self.config, rows, columns, 1)
        beats = [int.from_bytes(beat.tobytes(), "little")
                 for beat in pack_weights(self.config, trits)]
        return self.place_beats(Placed(rows, columns, beats))

    def place_beats(self, matrix: Placed) -> int:
        """Keep a matrix that is packed already, and return its number."""
        check_product(self.config, matrix.rows, matrix.columns, 1)
        command = command_for(self.config, matrix.rows, matrix.columns)
        if len(matrix.beats) != command.blocks * command.tiles:
            raise ArrayRefusedError(f"the matrix has {len(matrix.beats)} beats, not "
                                    f"{command.blocks * command.tiles}")
        self._matrices.append(matrix)
        return len(self._matrices) - 1

    def multiply(self, matrix: int, codes: Codes, digits: int) -> Ints:
        """Multiply codes [K] with a matrix that was placed: sums [M]."""
        if not 0 <= matrix < len(self._matrices):
            raise ArrayRefusedError(f"matrix {matrix} was never placed")
        found = self._matrices[matrix]
        check_product(self.config, found.rows, found.columns, digits)
        if codes.shape != (found.columns,):
            raise ArrayRefusedError(f"{found.columns} codes are wanted, not {list(codes.shape)}")
        try:
            tile_activations(self.config, codes, digits)
        except ValueError as error:
            raise ArrayRefusedError(str(error)) from error
        self.products += 1
        return self.engine.run(found, codes, digits)

    def forget(self) -> None:
        """Drop every matrix."""
        self._matrices.clear()

    def close(self) -> None:
        """Let go of the engine."""
        self.forget()
        self.engine.close()


class ModelEngine:
    """The array's golden model, which reads the beats that the hardware would."""

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config

    def run(self, matrix: Placed, codes: Codes, digits: int) -> Ints:
        """Return the sums [M] of a product within the limits."""
        config = self.config
        size = -(-config.unpacker.packed_bits // 8)
        data = np.frombuffer(b"".join(beat.to_bytes(size, "little") for beat in matrix.beats),
                             np.uint8)
        unpack, per_byte = (unpack_2bit, 4) if config.packing == "2bit" else (unpack_base3, 5)
        trits = unpack(data, per_byte * len(data)).reshape(len(matrix.beats), -1)
        trits = trits[:, :config.macs_per_cycle]
        tiles = -(-matrix.columns // config.lanes)
        whole = trits.reshape(-1, tiles, config.rows, config.lanes).swapaxes(1, 2)
        dense = whole.reshape(-1, tiles * config.lanes)[:matrix.rows, :matrix.columns]
        return ternary_array(config, dense, codes).reshape(-1)[:matrix.rows]

    def close(self) -> None:
        """Nothing is held."""
