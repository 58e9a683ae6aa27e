"""CUDA C++ without a device: the same source, compiled for the CPU, thread by thread (cuda_on_cpu.h)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

_HEADER = Path(__file__).with_suffix(".h")
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
    text = f'#include "{_HEADER}"\n{source}\n#define KERNEL {name}\n{_LAUNCH}'
    digest = hashlib.sha256((text + _HEADER.read_text()).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"rnnsweep-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            (Path(place) / "kernel.cpp").write_text(text)
            command = [
                "g++",
                "-std=c++17",
                "-O1",
                "-w",
                "-shared",
                "-fPIC",
                "-ffp-contract=off",
                "kernel.cpp",
                "-o",
                "kernel.so",
            ]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-4000:]
            os.replace(Path(place) / "kernel.so", library)
    return ctypes.CDLL(str(library))
