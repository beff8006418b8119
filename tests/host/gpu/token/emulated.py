# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the GPU: token kernels compiled as C++ for this machine, arrays in its memory."""

import contextlib
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from host.gpu.runtime import Offset

SOURCES = Path(__file__).parents[4] / "host" / "gpu" / "token"
HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0", "-shared", "-fPIC",
         "-fwrapv", "-w"]


def compiler():
    return shutil.which("g++")


def build(source: str, name: str, folder: Path, *options: str,
          sources: Path = SOURCES) -> ctypes.CDLL:
    text, out = folder / f"{name}.cpp", folder / f"{name}.so"
    text.write_text(source)
    done = subprocess.run([compiler(), *FLAGS, *options, f"-I{HERE}", f"-I{sources}", str(text),
                           "-o", str(out)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr[-4000:])
    return ctypes.CDLL(str(out))


class Array:
    def __init__(self, shape, dtype):
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.dtype = np.dtype(dtype)
        self.host = np.empty(self.shape, self.dtype)
        self.nbytes, self.pointer = self.host.nbytes, self.host.ctypes.data

    def put(self, values):
        assert values.shape == self.shape
        self.host[...] = values
        return self

    def get(self):
        return self.host.copy()

    def fill(self, byte):
        self.host.view(np.uint8).reshape(-1)[:] = byte
        return self


class Kernel:
    def __init__(self, owner, entry):
        self.owner, self.entry = owner, entry

    def __call__(self, grid, block, *arguments, dependent=False, cluster=1):
        values = []
        for each in arguments:
            if isinstance(each, Offset):
                values.append(ctypes.c_void_p(each.array.pointer + each.nbytes))
            elif isinstance(each, Array):
                values.append(ctypes.c_void_p(each.pointer))
            else:
                values.append({"uint32": ctypes.c_uint32, "int": ctypes.c_int32}[
                    type(each).__name__](int(each)))
        pointers = (ctypes.c_void_p * len(values))(
            *[ctypes.cast(ctypes.pointer(value), ctypes.c_void_p) for value in values])
        assert dependent
        self.owner.add(lambda: self.entry(grid, block, cluster, pointers) and values)


class Graph:
    def __init__(self):
        self.launches = []

    @property
    def nodes(self):
        return len(self.launches)

    def replay(self):
        for launch in self.launches:
            launch()


@functools.cache
def library(sources: Path, file: str, name: str, options: tuple[str, ...]) -> ctypes.CDLL:
    text = f'#include "emulator.h"\n#include "{file}"\n'
    text += ('extern "C" int launch(int grid, int block, int ranks, void** args) {\n'
             '  for (int i = 0; i < grid; i += ranks)\n'
             '    emulator::run(i, ranks, block, [](void** a) {\n'
             f'      emulator::call({name}, a); }}, args);\n  return 0; }}\n')
    with tempfile.TemporaryDirectory() as folder:
        return build(text, name, Path(folder), *options, sources=sources)


class EmulatedDevice:
    """Offers what :class:`host.gpu.runtime.Device` does, as far as a token needs it.

    `changed` names directories of changed kernels by file.
    """

    def __init__(self, multiprocessors=64, changed=None):
        self.changed = changed or {}
        self.info = SimpleNamespace(multiprocessors=multiprocessors)
        self.captured = None

    def kernel(self, source, name, defines):
        options = tuple(f"-D{key}={value}" for key, value in sorted(defines.items()))
        folder = self.changed.get(source.name, SOURCES)
        return Kernel(self, library(folder, source.name, name, options).launch)

    def add(self, launch):
        if self.captured is None:
            launch()
        else:
            self.captured.launches.append(launch)

    @contextlib.contextmanager
    def capture(self):
        self.captured = Graph()
        out = SimpleNamespace(graph=self.captured)
        yield out
        self.captured = None

    def empty(self, shape, dtype):
        return Array(shape, dtype).fill(0xA5)

    def zeros(self, shape, dtype):
        return Array(shape, dtype).fill(0)

    def array(self, values):
        return Array(values.shape, values.dtype).put(values)

    def synchronize(self):
        pass


class PlainProducts:
    """Products by NumPy, over matrices that are not packed."""

    def __init__(self, device):
        self.device = device

    def pad(self, columns):
        return -(-columns // 256) * 256

    def pack_rows(self, matrix):
        return np.ascontiguousarray(matrix)

    pack_levels = pack_columns = pack_rows

    def rows(self, rows, columns):
        def multiply(words, x, y):
            y.host[0, :] = words.host.astype(np.int32) @ x.host[0, :columns].astype(np.int32)

        return lambda words, x, y: self.device.add(lambda: multiply(words, x, y))

    levels = rows

    def columns(self, rows, columns):
        def multiply(words, entries, count, y):
            listed = entries.host[:count.host[0]]
            codes = np.zeros(columns, np.int32)
            codes[listed & 0xFFFFFF] = (listed >> 24).astype(np.uint8).view(np.int8)
            assert (codes != 0).sum() == len(listed)
            y.host[0, :] = words.host.astype(np.int32) @ codes

        return lambda *arguments: self.device.add(lambda: multiply(*arguments))
