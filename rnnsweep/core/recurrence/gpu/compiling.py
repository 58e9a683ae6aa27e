"""CUDA C++ compiled while the program runs (NVRTC), and its launches on torch's current stream.

Sources are made for the sizes at hand; what was compiled once is kept on disk, by source, device and compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from rnnsweep import user_cache
from rnnsweep.extras import install_hint

Launch = Callable[[tuple[int, ...], int, int, Sequence[int]], None]
"""(grid, threads, bytes of shared memory, the job's fields) -> None."""


def address(tensor: Shaped[Tensor, " ..."] | None) -> int:
    """Of its first entry; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def require() -> None:
    """Raise `ImportError` where there is a GPU, but nothing to compile for it."""
    if not torch.cuda.is_available():
        return  # nothing is launched here
    if torch.version.hip is not None:
        raise ImportError("the gpu engine is made for CUDA, and this torch for ROCm")
    try:
        from cuda.bindings import driver, nvrtc  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue] - as below
    except ImportError as error:
        raise ImportError(f"the gpu engine needs cuda-bindings ({error}). {install_hint('gpu')}") from error


def kernel(name: str, source: str, device: torch.device) -> Launch:
    """The kernel of that name, ready to launch on the device.

    Raises:
        RuntimeError: the compiler or the driver refuses.
    """
    return _loaded(name, source, device)


@cache
def _loaded(name: str, source: str, device: torch.device) -> Launch:
    from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue] - it has no stubs

    with torch.cuda.device(device):
        torch.cuda.current_stream()  # torch's context is the current one from here on
        torch.zeros(1, device=device)
        module = _checked(driver.cuModuleLoadData(_compiled(source, device)))
    function = _checked(driver.cuModuleGetFunction(module, name.encode()))
    most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    asked = 0

    def launch(grid: tuple[int, ...], threads: int, shared: int, job: Sequence[int]) -> None:
        nonlocal asked
        if shared > asked:
            _checked(driver.cuFuncSetAttribute(function, most, shared))
            asked = shared
        packed = ctypes.create_string_buffer(struct.pack(f"{len(job)}q", *job))
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(packed))
        with torch.cuda.device(device):
            stream = torch.cuda.current_stream().cuda_stream
            _checked(
                driver.cuLaunchKernel(
                    function,
                    *grid,
                    *(1,) * (3 - len(grid)),
                    threads,
                    1,
                    1,
                    shared,
                    stream,
                    ctypes.addressof(arguments),
                    0,
                )
            )

    return launch


def _compiled(source: str, device: torch.device) -> bytes:
    """Machine code, from disk where it was compiled before."""
    from cuda.bindings import nvrtc  # pyright: ignore[reportAttributeAccessIssue] - it has no stubs

    major, minor = torch.cuda.get_device_capability(device)
    options = [f"--gpu-architecture=sm_{major}{minor}", "--std=c++17", "--device-as-default-execution-space"]
    # Sums of products say FMA; elsewhere the compiler would fuse what the code around a formula happens to suggest.
    options.append("--fmad=false")
    version = _checked(nvrtc.nvrtcVersion())
    digest = hashlib.sha256(repr((source, options, version)).encode()).hexdigest()
    file = _directory() / f"{digest}.cubin"
    if file.exists():
        return file.read_bytes()
    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"loops.cu", 0, [], []))
    flags = [option.encode() for option in options]
    (code,) = nvrtc.nvrtcCompileProgram(program, len(flags), flags)
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        raise RuntimeError(f"CUDA C++ was refused ({code.name}):\n{log.decode(errors='replace')}")
    made = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    _checked(nvrtc.nvrtcGetCUBIN(program, made))
    user_cache.keep(file, made)
    return made


def _directory() -> Path:
    """Where machine code is kept."""
    own = os.environ.get("RNNSWEEP_CUDA_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rnnsweep" / "cuda"


def _checked(result: tuple[Any, ...]) -> Any:
    """The value of a call of cuda.bindings, which returns (code, value...)."""
    code, *values = result
    if int(code):
        raise RuntimeError(f"CUDA: {code.name}")
    return values[0] if values else None
