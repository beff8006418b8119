# SPDX-License-Identifier: Apache-2.0
"""The form in which backends that hold the exact model's integers hand a cache on."""

import io
import zlib

import numpy as np

from golden_model.exact import CacheState
from host.backends.base import BackendError, SavedState

__all__ = ["FORM", "pack_state", "unpack_state"]

FORM = "exact-1"
MAX_STATE = 1 << 30
"""Most bytes of a state once it is unpacked."""


def pack_state(state: CacheState | None, position: int) -> SavedState:
    """Make a saved state of a cache; nothing stands for an empty sequence."""
    out = io.BytesIO()
    for array in state or ():
        np.lib.format.write_array(out, array, allow_pickle=False)
    return SavedState(FORM, position, zlib.compress(out.getvalue(), 1))


def unpack_state(state: SavedState, name: str) -> CacheState | None:
    """Cache of one sequence, or nothing for an empty one; its values are not looked at.

    Raises
    ------
    BackendError
        Of the backend `name`: the state is of another form, or of no form at all.
    """
    if state.form != FORM:
        raise BackendError(f"{name}: a state of form {state.form!r} is not {FORM!r}")
    try:
        unpack = zlib.decompressobj()
        raw = unpack.decompress(state.data, MAX_STATE)
        if not unpack.eof:
            raise ValueError("it is cut off or too large")
        if not raw and state.position == 0:
            return None
        source = io.BytesIO(raw)
        arrays = [np.lib.format.read_array(source, allow_pickle=False) for _ in range(4)]
        found = CacheState(*arrays)
        if source.read(1) or found.k.dtype != np.int64 or found.v.dtype != np.int64:
            raise ValueError("it holds something else")
        if found.k_scale.shape[1:2] != (1,) or found.k_scale.shape[3:4] != (state.position,):
            raise ValueError("it is not of one sequence of the length that it claims")
    except (ValueError, EOFError, SyntaxError, MemoryError, zlib.error, OverflowError,
            TypeError) as error:
        raise BackendError(f"{name}: the state cannot be used: {error}") from error
    return found
