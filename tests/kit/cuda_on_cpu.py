"""CUDA C++ without a device: the same source, compiled for the CPU, thread by thread (cuda_on_cpu.h)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

_HEADER = Path(__file__).with_suffix(".h")
_OPTIONS = ("-std=c++17", "-O1", "-w", "-fPIC", "-ffp-contract=off")
_LAUNCH = """
extern "C" void launch_it(int x, int y, int z, int threads, long bytes, const void* job) {
  emulated::launch([](const void* j) { KERNEL(*static_cast<const Job*>(j)); }, x, y, z, threads, bytes, job);
}
"""


def kernel(name: str, source: str, device: torch.device) -> Any:
    """As `rnnsweep.core.recurrence.gpu.compiling.kernel`, of tensors of the CPU."""
    assert device.type == "cpu"
    run = _library(name, source).launch_it

    def launch(grid: tuple[int, ...], threads: int, shared: int, job: Sequence[int]) -> None:
        run(*grid, *(1,) * (3 - len(grid)), threads, ctypes.c_long(shared), struct.pack(f"{len(job)}q", *job))

    return launch


@cache
def _library(name: str, source: str) -> ctypes.CDLL:
    text = f"{source}\n#define KERNEL {name}\n{_LAUNCH}"
    library = _folder() / f"{_digest(text)}.so"
    if not library.exists():
        _compile(f'#include "{_header()}"\n{text}', "kernel.cpp", library, "-shared")
    return ctypes.CDLL(str(library))


@cache
def _header() -> Path:
    """The stand-in for a device, compiled before: two thirds of the time a kernel would else take are its headers'."""
    header = _folder() / _digest("") / _HEADER.name
    compiled = header.with_name(f"{header.name}.gch")
    if not compiled.exists():
        header.parent.mkdir(exist_ok=True)
        shutil.copy(_HEADER, header)
        _compile(_HEADER.read_text(), "device.h", compiled, "-x", "c++-header")
    return header


def _compile(text: str, name: str, target: Path, *kind: str) -> None:
    """Written at once: test processes compile side by side."""
    with tempfile.TemporaryDirectory(dir=_folder()) as place:
        (Path(place) / name).write_text(text)
        command = ["g++", *_OPTIONS, *kind, name, "-o", "made"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        os.replace(Path(place) / "made", target)


def _digest(text: str) -> str:
    return hashlib.sha256(repr((text, _HEADER.read_text(), _OPTIONS)).encode()).hexdigest()


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"rnnsweep-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder
