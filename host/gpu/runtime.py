# SPDX-License-Identifier: Apache-2.0
"""The CUDA device: compile, allocate, launch, capture.

A thin layer over the driver and NVRTC as ``cuda-bindings`` offers them; no CUDA toolkit and no C
compiler are needed.  Everything goes through one stream, so launches run in the order in which they
were made.  One process uses one device.
"""

import contextlib
import ctypes
import functools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from host.gpu.compiler import KERNELS, GpuError, bindings, check, compile_source

__all__ = ["KERNELS", "Array", "Capture", "Device", "DeviceInfo", "Event", "GpuError", "Graph",
           "Kernel", "Offset", "absence", "compile_source", "device"]

LEAST_CAPABILITY = (9, 0)
_STATIC_SHARED = 48 * 1024


@dataclass(frozen=True)
class DeviceInfo:
    """What a measurement must name."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    l2_bytes: int
    memory_bytes: int
    cuda_driver: str
    """Newest CUDA version that the driver takes."""

    @property
    def architecture(self) -> str:
        """NVRTC's name; with the suffix that opens one generation's own instructions."""
        major, minor = self.capability
        return f"sm_{major}{minor}a"


class Array:
    """Device memory with a shape and a type; freed when nothing refers to it."""

    def __init__(self, owner: "Device", shape: Sequence[int], dtype: DTypeLike) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        driver, self._stream = owner.driver, owner.stream
        # Whole 256-byte units: kernels may read, never use, the bytes behind the last element.
        size = max(256, -(-self.nbytes // 256) * 256)
        self.pointer = int(check(driver.cuMemAlloc(size), f"allocating {size} bytes"))
        self._driver = driver
        weakref.finalize(self, driver.cuMemFree, self.pointer)

    def put(self, values: NDArray[Any]) -> "Array":
        """Copy host values of the same shape in; returns itself."""
        host = np.ascontiguousarray(values, self.dtype)
        if host.shape != self.shape:
            raise ValueError(f"values of shape {self.shape} are wanted, not {host.shape}")
        if host.nbytes:
            check(self._driver.cuMemcpyHtoDAsync(self.pointer, host.ctypes.data, host.nbytes,
                                                  self._stream), "copying to the GPU")
            check(self._driver.cuStreamSynchronize(self._stream), "copying to the GPU")
        return self

    def get(self) -> NDArray[Any]:
        """Copy out, behind all that was launched before."""
        host = np.empty(self.shape, self.dtype)
        if host.nbytes:
            check(self._driver.cuMemcpyDtoHAsync(host.ctypes.data, self.pointer, host.nbytes,
                                                  self._stream), "copying from the GPU")
        check(self._driver.cuStreamSynchronize(self._stream), "copying from the GPU")
        return host

    def fill(self, byte: int) -> "Array":
        """Set every byte, in stream order; returns itself."""
        check(self._driver.cuMemsetD8Async(self.pointer, byte, self.nbytes, self._stream),
               "filling memory")
        return self


class Kernel:
    """A compiled function."""

    def __init__(self, owner: "Device", function: Any, name: str) -> None:
        self._owner, self._function, self.name = owner, function, name
        self._shared = _STATIC_SHARED

    def __call__(self, grid: int | Sequence[int], block: int | Sequence[int], *arguments: object,
                 shared: int = 0, dependent: bool = False, cluster: int = 1) -> None:
        """Launch on the device's stream.

        Parameters
        ----------
        grid, block
            One to three extents.
        arguments
            `Array` or `Offset` gives its pointer, `int` a C ``int``, a NumPy scalar its own type.
        shared
            Bytes of dynamic shared memory.
        dependent
            Programmatic dependent launch: it may start before the launch ahead of it has ended,
            so it must execute ``griddepcontrol.wait`` ahead of what depends on that one.
        cluster
            Blocks of a cluster along x.
        """
        driver = self._owner.driver
        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = _extents(grid)
        config.blockDimX, config.blockDimY, config.blockDimZ = _extents(block)
        config.sharedMemBytes, config.hStream = shared, self._owner.stream
        attributes = []
        if dependent:
            attribute = driver.CUlaunchAttribute()
            attribute.id = (driver.CUlaunchAttributeID
                            .CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            attribute.value.programmaticStreamSerializationAllowed = 1
            attributes.append(attribute)
        if cluster > 1:
            attribute = driver.CUlaunchAttribute()
            attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            attribute.value.clusterDim.x = cluster
            attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1
            attributes.append(attribute)
        config.attrs, config.numAttrs = attributes, len(attributes)
        if shared > self._shared:
            check(driver.cuFuncSetAttribute(
                self._function, driver.CUfunction_attribute
                .CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared), f"sizing {self.name}")
            self._shared = shared
        values, types = zip(*map(_argument, arguments)) if arguments else ((), ())
        check(driver.cuLaunchKernelEx(config, self._function, (values, types), 0),
               f"launching {self.name}")

    @property
    def registers(self) -> int:
        """Registers of a thread."""
        return int(self._attribute("CU_FUNC_ATTRIBUTE_NUM_REGS"))

    @property
    def local_bytes(self) -> int:
        """Local memory of a thread; not zero means spilled registers."""
        return int(self._attribute("CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES"))

    def _attribute(self, name: str) -> Any:
        driver = self._owner.driver
        return check(driver.cuFuncGetAttribute(getattr(driver.CUfunction_attribute, name),
                                                self._function), f"asking about {self.name}")


@dataclass(frozen=True)
class Offset:
    """An address inside an array."""

    array: Array
    nbytes: int


def _extents(x: int | Sequence[int]) -> tuple[int, int, int]:
    extents = (x,) if isinstance(x, int) else tuple(x)
    width, height, depth = (*extents, 1, 1)[:3]
    return width, height, depth


_C_TYPES: Mapping[str, Any] = {
    "int32": ctypes.c_int32, "uint32": ctypes.c_uint32, "int64": ctypes.c_int64,
    "uint64": ctypes.c_uint64, "float32": ctypes.c_float, "float64": ctypes.c_double,
}


def _argument(value: object) -> tuple[Any, Any]:
    """Value and C type of one kernel parameter."""
    if isinstance(value, Array):
        return value.pointer, ctypes.c_void_p
    if isinstance(value, Offset):
        return value.array.pointer + value.nbytes, ctypes.c_void_p
    if isinstance(value, int):
        return value, ctypes.c_int32
    if isinstance(value, np.generic) and value.dtype.name in _C_TYPES:
        return value.item(), _C_TYPES[value.dtype.name]
    raise TypeError(f"a kernel takes arrays, int and 32- or 64-bit NumPy scalars, not {value!r}")


class Event:
    """A point in the stream whose time is known once it was passed."""

    def __init__(self, owner: "Device") -> None:
        self._owner = owner
        self._event = check(owner.driver.cuEventCreate(0), "creating an event")

    def record(self) -> None:
        """Mark the stream's end as it is now."""
        check(self._owner.driver.cuEventRecord(self._event, self._owner.stream), "marking a time")

    def since(self, start: "Event") -> float:
        """Microseconds from another event to this one; waits for it."""
        check(self._owner.driver.cuEventSynchronize(self._event), "waiting")
        return 1e3 * float(check(self._owner.driver.cuEventElapsedTime(
            start._event, self._event), "reading a time"))


class Graph:
    """Launches that were captured; the arrays that they use must outlive it."""

    def __init__(self, owner: "Device", executable: Any, nodes: int) -> None:
        self._owner, self._executable, self.nodes = owner, executable, nodes

    def replay(self) -> None:
        """Launch all of it."""
        check(self._owner.driver.cuGraphLaunch(self._executable, self._owner.stream),
               "replaying a graph")


class Capture:
    """Holds the graph once a capture has ended."""

    graph: Graph


class Device:
    """The GPU: obtained by :func:`device`, never constructed by its users."""

    def __init__(self, ordinal: int = 0) -> None:
        self.driver, self._nvrtc = bindings()
        driver = self.driver
        try:
            check(driver.cuInit(0), "starting")
            count = check(driver.cuDeviceGetCount(), "counting GPUs")
        except (RuntimeError, OSError) as error:  # the driver's library itself is not there
            raise GpuError("there is no NVIDIA driver on this machine") from error
        if count <= ordinal:
            raise GpuError("there is no NVIDIA GPU on this machine")
        handle = check(driver.cuDeviceGet(ordinal), "choosing a GPU")

        def ask(name: str) -> int:
            return int(check(driver.cuDeviceGetAttribute(
                getattr(driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}"), handle),
                "asking about the GPU"))

        version = int(check(driver.cuDriverGetVersion(), "asking about the driver"))
        name = check(driver.cuDeviceGetName(128, handle), "asking about the GPU")
        self.info = DeviceInfo(
            name.split(b"\0")[0].decode(),
            (ask("COMPUTE_CAPABILITY_MAJOR"), ask("COMPUTE_CAPABILITY_MINOR")),
            ask("MULTIPROCESSOR_COUNT"), ask("L2_CACHE_SIZE"),
            int(check(driver.cuDeviceTotalMem(handle), "asking about the GPU")),
            f"{version // 1000}.{version % 1000 // 10}")
        if self.info.capability < LEAST_CAPABILITY:
            raise GpuError(f"{self.info.name} has compute capability "
                           f"{'.'.join(map(str, self.info.capability))}; the kernels need "
                           f"{'.'.join(map(str, LEAST_CAPABILITY))}")
        self._context = check(driver.cuDevicePrimaryCtxRetain(handle), "opening the GPU")
        self.activate()
        self.stream = check(driver.cuStreamCreate(
            driver.CUstream_flags.CU_STREAM_NON_BLOCKING), "creating a stream")
        self._modules: dict[tuple[Path, tuple[str, ...]], Any] = {}

    def activate(self) -> None:
        """Use it from the calling thread."""
        check(self.driver.cuCtxSetCurrent(self._context), "using the GPU")

    def kernel(self, source: Path, name: str,
               defines: Mapping[str, int | str] | None = None) -> Kernel:
        """Compile a file (once a process and set of `defines`) and take an ``extern "C"`` function.

        Includes are sought in the file's own directory and in `KERNELS`.
        """
        options = tuple(f"-D{key}={value}" for key, value in sorted((defines or {}).items()))
        key = (source, options)
        if key not in self._modules:
            image = compile_source(source, self.info.architecture, options)
            self._modules[key] = check(self.driver.cuModuleLoadData(image),
                                       f"loading {source.name}")
        function = check(self.driver.cuModuleGetFunction(self._modules[key], name.encode()),
                          f"looking for {name} in {source.name}")
        return Kernel(self, function, name)

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> Array:
        """Allocate without initial values."""
        return Array(self, (shape,) if isinstance(shape, int) else shape, dtype)

    def zeros(self, shape: int | Sequence[int], dtype: DTypeLike) -> Array:
        """Allocate zeros."""
        return self.empty(shape, dtype).fill(0)

    def array(self, values: NDArray[Any]) -> Array:
        """Copy to new memory of the same shape and type."""
        return self.empty(values.shape, values.dtype).put(values)

    @contextlib.contextmanager
    def capture(self) -> Iterator[Capture]:
        """Collect the launches of a ``with`` block, none of which runs, into its `graph`."""
        driver, out = self.driver, Capture()
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        check(driver.cuStreamBeginCapture(self.stream, mode), "beginning a capture")
        try:
            yield out
        except BaseException:
            driver.cuStreamEndCapture(self.stream)
            raise
        graph = check(driver.cuStreamEndCapture(self.stream), "ending a capture")
        nodes = check(driver.cuGraphGetNodes(graph, 0), "counting a graph's nodes")[1]
        executable = check(driver.cuGraphInstantiate(graph, 0), "building a graph")
        check(driver.cuGraphDestroy(graph), "building a graph")
        out.graph = Graph(self, executable, int(nodes))
        weakref.finalize(out.graph, driver.cuGraphExecDestroy, executable)

    def event(self) -> Event:
        """Return a new event."""
        return Event(self)

    def synchronize(self) -> None:
        """Wait for all that was launched; `GpuError` if any of it failed."""
        check(self.driver.cuStreamSynchronize(self.stream), "running kernels")


@functools.cache
def device() -> Device:
    """Return the process's GPU; `GpuError` in one sentence if there is none."""
    return Device()


def absence() -> str | None:
    """Why no GPU can be used here; nothing if one can."""
    try:
        device()
    except GpuError as error:
        return str(error)
    return None
