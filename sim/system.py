# SPDX-License-Identifier: Apache-2.0
"""The accelerator as a running program: Verilated, with a bus master and a memory in C++.

What a board is to a driver: registers by address, an interrupt to wait for, a memory that holds the
image; beside that what no board shows, the cycle of every token and of every instruction.
"""

import ctypes
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.accelerator import TRACE, Accelerator
from sim.compiled import compile_model, is_compiled
from sim.runner import SimulationFailed

__all__ = ["BusRefused", "Step", "System", "is_built"]

_HARNESS = Path(__file__).with_name("system.cpp")
_BUSES = {"axi_lite": ["AXI_LITE"], "wishbone": ["WISHBONE"],
          "wishbone_pipelined": ["WISHBONE", "PIPELINED"]}
_MOST = 1 << 16
_EVENT = np.dtype([("cycle", np.uint64), ("trace", np.uint32), ("pad", np.uint32)])


class BusRefused(RuntimeError):
    """An access was answered with an error."""


class Step(NamedTuple):
    """What the decoder shows from a cycle on."""

    cycle: int
    running: bool
    phase: int
    layer: int


def _defines(accelerator, waves):
    """Macros of the harness."""
    system = accelerator.config.system
    return [*_BUSES[system.bus], *(["AXI_MEMORY"] if system.memory == "axi" else []),
            *(["WAVES"] if waves else [])]


def is_built(accelerator, *, waves=False):
    """Whether a `System` of an :class:`hw.accelerator.Accelerator` needs no build."""
    return is_compiled(accelerator, harness=_HARNESS, defines=_defines(accelerator, waves),
                       waves=waves)


class System:
    """One running accelerator, behind its reset.

    Parameters
    ----------
    accelerator
        :class:`hw.accelerator.Accelerator`.
    waves
        FST file to write; slower by a factor of ten or so.
    report
        Called with a few words at each stage of building.
    """

    def __init__(self, accelerator, *, waves=None, report=lambda text: None):
        self.config = accelerator.config
        place = compile_model(accelerator, harness=_HARNESS,
                              defines=_defines(accelerator, waves),
                              waves=waves is not None, report=report,
                              shipped=type(accelerator) is Accelerator)
        library = ctypes.CDLL(str(place / "dut.so"))
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        for name, result, arguments in (
                ("open", pointer, [ctypes.c_char_p]), ("close", None, [pointer]),
                ("read", ctypes.c_int, [pointer, ctypes.c_uint32,
                                        ctypes.POINTER(ctypes.c_uint32)]),
                ("write", ctypes.c_int, [pointer, ctypes.c_uint32, pointer, number]),
                ("run", number, [pointer, number]), ("cycles", number, [pointer]),
                ("record", None, [pointer, ctypes.c_int, ctypes.c_int]),
                ("memory", None, [pointer, number, pointer, number]),
                ("temper", None, [pointer, number, number, number, ctypes.c_uint, ctypes.c_int]),
                *((name, number, [pointer, pointer, number]) for name in
                  ("events", "tokens", "given", "logits", "scales"))):
            function = getattr(library, f"system_{name}")
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._kept = {"steps": False, "logits": False}
        self._handle = library.system_open(str(waves).encode() if waves else None)

    def close(self):
        """Free the instance, and end its waves; it must not be used afterwards."""
        if self._handle is not None:
            self._library.system_close(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _judge(self, result, offset):
        if result == 1:
            raise BusRefused(f"an access to {offset:#05x} was answered with an error")
        if result == 2:
            raise SimulationFailed(f"an access to {offset:#05x} is never answered")

    def read(self, offset):
        """Read a register."""
        word = ctypes.c_uint32()
        self._judge(self._library.system_read(self._handle, offset, ctypes.byref(word)), offset)
        return word.value

    def write(self, offset, *words):
        """Write one word, or several to one register."""
        self.write_array(offset, np.array(words, np.uint32))

    def write_array(self, offset, words):
        """Write the words of an array to one register."""
        flat = np.ascontiguousarray(words, np.uint32)
        self._judge(self._library.system_write(self._handle, offset, flat.ctypes.data, flat.size),
                    offset)

    def run(self, limit):
        """Run until the interrupt is up, for `limit` cycles at most; cycles that it took."""
        return self._library.system_run(self._handle, limit)

    @property
    def cycles(self):
        """Clock cycles since the reset."""
        return self._library.system_cycles(self._handle)

    def load_memory(self, base, content):
        """Fill the memory on the AXI4 port; elsewhere it reads as zero."""
        self._library.system_memory(self._handle, base, content, len(content))

    def temper(self, *, latency=20, bad=range(0), response=2, silent=False):
        """Choose how that memory behaves.

        Parameters
        ----------
        latency
            Cycles from an address to its first beat.
        bad
            Byte addresses that are answered with `response`, 2 for SLVERR or 3 for DECERR.
        silent
            Nothing is answered.
        """
        self._library.system_temper(self._handle, latency, bad.start, bad.stop, response, silent)

    def record(self, **kept):
        """Choose what is kept for `steps` and `logits`, each as it was unless named.

        Tokens are always kept.
        """
        self._kept |= kept
        self._library.system_record(self._handle, *self._kept.values())

    def _take(self, name, dtype):
        parts = []
        while True:
            part = np.zeros(_MOST, dtype)
            count = getattr(self._library, f"system_{name}")(self._handle, part.ctypes.data, _MOST)
            parts.append(part[:count])
            if count < _MOST:
                return np.concatenate(parts)

    def tokens(self):
        """First and last cycle of each token that was read since the last call [n, 2].

        Tokens that were read at a time, in a chunk, have the same.
        """
        spans = self._take("tokens", np.uint64).astype(np.int64).reshape(-1, 2)
        # Those of a chunk are counted one after the other, from its last cycle on.
        firsts, index = np.unique(spans[:, 0], return_index=True)
        spans[:, 1] = spans[index[np.searchsorted(firsts, spans[:, 0])], 1]
        return spans

    def given(self):
        """Cycle of each token that was put into the queue since the last call."""
        return self._take("given", np.uint64).astype(np.int64)

    def steps(self):
        """Return what changed in the decoder since the last call."""
        found = []
        for event in self._take("events", _EVENT):
            shown = TRACE.from_bits(int(event["trace"]))
            found.append(Step(int(event["cycle"]), bool(shown.running), int(shown.phase),
                              int(shown.layer)))
        return found

    def logits(self):
        """Logits [n] since the last call, and the bits of their scales [n]."""
        words = self._take("logits", np.uint32).reshape(-1, 2).astype(np.int64)
        bits = self.config.decoder.plane_sum.logit_bits
        values = (words[:, 0] | words[:, 1] << 32) >> 1 & (1 << bits) - 1
        return values - (values >> bits - 1 << bits), self._take("scales", np.uint32)
