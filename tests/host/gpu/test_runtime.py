# SPDX-License-Identifier: Apache-2.0
"""The layer over the driver: sentences where there is no GPU, memory and graphs where there is."""

import enum
import itertools
import sys
import types

import numpy as np
import pytest

from host.backends.base import BackendError
from host.gpu import compiler, runtime
from host.gpu.runtime import KERNELS, GpuError, Offset

MATRIX = {"ROWS": 40, "DEPTH": 3, "TOKENS": 2, "RESIDENT": 1}
SOURCES = {
    "row_product": {**MATRIX, "PLANES": 2, "SPLIT": 3, "TILES": 1, "GROUPS": 2},
    "batch_product": {**MATRIX, "SPLIT": 6, "TILES": 2},
    "column_product": {"ROWS": 40, "COLUMNS": 50, "PITCH": 16, "WARPS": 8, "SHARES": 8},
    "probe": {},
}


class Result(enum.Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_NO_DEVICE = 100


def bindings(monkeypatch, **calls):
    """Put a driver of these calls in the place of the real one."""
    driver = types.SimpleNamespace(
        CUresult=Result, cuGetErrorString=lambda _: (Result.CUDA_SUCCESS, b"words of the driver"),
        **calls)
    for module in (compiler, runtime):
        monkeypatch.setattr(module, "bindings", lambda: (driver, None))


def raising(error):
    def call(*_):
        raise error
    return call


def test_a_machine_without_the_package_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    compiler.bindings.cache_clear()
    with pytest.raises(GpuError, match=r"cuda-bindings is missing: pip install 'tritforge\[gpu\]'"):
        compiler.bindings()
    compiler.bindings.cache_clear()


def test_a_machine_without_a_driver_is_told_so(monkeypatch):
    bindings(monkeypatch, cuInit=raising(RuntimeError("Failed to dlopen libcuda.so.1")))
    with pytest.raises(GpuError, match="no NVIDIA driver on this machine"):
        runtime.Device()


def test_a_driver_without_a_gpu_is_told_so(monkeypatch):
    bindings(monkeypatch, cuInit=lambda _: (Result.CUDA_SUCCESS,),
             cuDeviceGetCount=lambda: (Result.CUDA_SUCCESS, 0))
    with pytest.raises(GpuError, match="no NVIDIA GPU on this machine"):
        runtime.Device()


def test_a_failed_call_has_the_drivers_own_words(monkeypatch):
    bindings(monkeypatch, cuInit=lambda _: (Result.CUDA_ERROR_NO_DEVICE,))
    with pytest.raises(BackendError, match="CUDA failed while starting: words of the driver"):
        runtime.Device()


def test_absence_is_a_sentence_or_nothing():
    reason = runtime.absence()
    assert reason is None or (reason and "\n" not in reason)


def test_arguments_have_the_types_of_c():
    names = [runtime._argument(value)[1].__name__ for value in (
        3, np.int64(3), np.uint32(3), np.float32(1), np.float64(1))]
    assert names == ["c_int", "c_long", "c_uint", "c_float", "c_double"]
    with pytest.raises(TypeError, match="not 'x'"):
        runtime._argument("x")


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_kernel_compiles_for_hopper(name):
    options = [f"-D{key}={value}" for key, value in SOURCES[name].items()]
    try:
        image = compiler.compile_source(KERNELS / f"{name}.cu", "sm_90a", options)
    except GpuError as error:
        if "is missing" not in str(error):
            raise
        pytest.skip(str(error))
    assert image.startswith(b"\x7fELF")


def test_a_compilers_message_reaches_the_user(tmp_path):
    source = tmp_path / "wrong.cu"
    source.write_text("nonsense;")
    with pytest.raises(GpuError, match=r"is missing|NVRTC refuses wrong\.cu: .*error"):
        compiler.compile_source(source, "sm_90a")


def test_memory_keeps_what_is_put_into_it(gpu):
    values = np.random.default_rng(1).integers(0, 1000, (3, 5), np.int32)
    array = gpu.array(values)
    assert (array.get() == values).all()
    assert (array.fill(0xA5).get() == -0x5A5A5A5B).all()
    assert array.put(values) is array
    with pytest.raises(ValueError, match=r"shape \(3, 5\)"):
        array.put(values[:2])
    assert gpu.zeros(0, np.int8).get().size == 0


def test_a_graph_runs_its_launches_in_order(gpu):
    kernel = gpu.kernel(KERNELS / "probe.cu", "dependent_copy")
    a, b, c = (gpu.array(np.full(64, i, np.int32)) for i in range(3))
    with gpu.capture() as capture:
        kernel(1, 16, a, b, dependent=True)
        kernel(1, 8, b, Offset(c, 128), dependent=True)
    assert b.get()[0] == 1                              # nothing ran while it was captured
    assert capture.graph.nodes == 2
    capture.graph.replay()
    assert not b.get().any()
    assert c.get().tolist() == [2] * 32 + [0] * 32


def test_a_kernel_is_compiled_once(gpu):
    first, second = (gpu.kernel(KERNELS / "probe.cu", "empty") for _ in range(2))
    assert len([key for key in gpu._modules if key[0].stem == "probe"]) == 1
    assert first.local_bytes == second.local_bytes == 0
    assert first.registers > 0


def test_time_passes(gpu):
    marks = [gpu.event() for _ in range(3)]
    for mark in marks:
        mark.record()
    assert all(later.since(earlier) >= 0 for earlier, later in itertools.pairwise(marks))
