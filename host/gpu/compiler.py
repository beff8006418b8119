# SPDX-License-Identifier: Apache-2.0
"""Machine code from CUDA C++ by NVRTC: no toolkit, no C compiler and no GPU are needed."""

import functools
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from host.backends.base import BackendError

__all__ = ["INSTALL", "KERNELS", "GpuError", "bindings", "check", "compile_source"]

KERNELS = Path(__file__).parent / "kernels"
"""Directory of the matrix kernels; an include path of every compilation."""
INSTALL = "pip install 'tritforge[gpu]'"


class GpuError(BackendError):
    """There is no usable GPU, or a call of the driver or the compiler failed."""


@functools.cache
def bindings() -> tuple[ModuleType, ModuleType]:
    """Driver and NVRTC modules; `GpuError` if they are not installed."""
    try:
        from cuda.bindings import driver, nvrtc
    except ImportError as error:
        raise GpuError(f"the Python package cuda-bindings is missing: {INSTALL}") from error
    return driver, nvrtc


def check(result: tuple[Any, ...], doing: str) -> Any:
    """Value of a driver call, or `GpuError` with the driver's own words."""
    driver, _ = bindings()
    code, *values = result
    if code != driver.CUresult.CUDA_SUCCESS:
        found, text = driver.cuGetErrorString(code)
        words = text.decode() if found == driver.CUresult.CUDA_SUCCESS and text else str(code)
        raise GpuError(f"CUDA failed while {doing}: {words}")
    return values[0] if len(values) == 1 else tuple(values) if values else None


def compile_source(source: Path, architecture: str, options: Sequence[str] = ()) -> bytes:
    """Machine code of a file by NVRTC; needs no GPU.

    Raises
    ------
    GpuError
        NVRTC is missing, or refuses the file: its messages are in the error.
    """
    _, nvrtc = bindings()
    success = nvrtc.nvrtcResult.NVRTC_SUCCESS

    def value(result: tuple[Any, ...]) -> Any:
        code, *values = result
        if code != success:
            raise GpuError(f"NVRTC failed on {source.name}: {code.name}")
        return values[0] if values else None

    flags = [f"--gpu-architecture={architecture}", "-std=c++17", "--fmad=false",
             f"-I{source.parent}", f"-I{KERNELS}", *options]
    try:
        program = value(nvrtc.nvrtcCreateProgram(source.read_bytes(), source.name.encode(), 0, [],
                                                 []))
    except RuntimeError as error:  # the library itself is not there
        raise GpuError(f"the library NVRTC is missing: {INSTALL}") from error
    code, = nvrtc.nvrtcCompileProgram(program, len(flags), [flag.encode() for flag in flags])
    if code != success:
        log = b" " * value(nvrtc.nvrtcGetProgramLogSize(program))
        value(nvrtc.nvrtcGetProgramLog(program, log))
        raise GpuError(f"NVRTC refuses {source.name}: {log.decode().strip(chr(0)).strip()}")
    image: bytes = b" " * value(nvrtc.nvrtcGetCUBINSize(program))
    value(nvrtc.nvrtcGetCUBIN(program, image))
    value(nvrtc.nvrtcDestroyProgram(program))
    return image
