"""The machine under a trainer: its device and processor, threads, and how many rows fit."""

from __future__ import annotations

import ctypes
import sys

import psutil
import torch

from rnnsweep.app.environment import cores as all_cores
from rnnsweep.app.environment import processor
from rnnsweep.core import host_graph, host_threads
from rnnsweep.core.program import Program
from rnnsweep.core.recurrence.cpu.engine.dispatch import use_threads

_BESIDE_GPU = 16
"""Threads of a GPU's worker at most, on the cores of its machine but one, which starts the device's work."""
_MOST_ROWS = {"cpu": 512, "cuda": 4096}

_TRIM, _MMAP = -1, -3
"""Thresholds of glibc's mallopt, by malloc.h."""


def row_bytes(program: Program) -> int:
    """Memory that one more row of a pack takes, in bytes.

    Parameters, gradients and optimiser slots, each twice (present and proposed); engines that train the whole pack at
    once also hold its loop record (states, deltas, handed-back errors, inputs). A tiled engine keeps one tile's.
    """
    size = torch.empty((), dtype=program.dtype).element_size()
    held = program.layout.size * 2 * (2 + len(program.optimizer.slots)) * size
    if program.engine.tile is None:
        held += program.record_bytes
    return held


def rows_that_fit(program: Program, device: torch.device) -> int:
    """How many rows of a program a device holds: half of its free memory over a row's bytes; at least 1."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    # one tile's record is there however many rows there are; the other half of the memory is for what is not counted
    rows = program.tile_rows
    tile = (rows or 0) * program.record_bytes
    # at most: what a tile's recorded update holds on to
    graph = host_graph.MOST_BYTES // rows if rows and program.replays else 0
    return max(1, min(_MOST_ROWS.get(device.type, 512), int((0.5 * free - tile) / (row_bytes(program) + graph))))


def rows_at_once(device: torch.device, cores: int) -> int:
    """How many rows a device trains in about the time of one: its multiprocessors, or the worker's cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, cores)


def device_name(device: torch.device) -> str:
    """The GPU's or processor's name: results are the same to the bit on one type only.

    torch picks its kernels by vector extension, which may be switched off on one and the same processor: so that
    stands beside the name.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()} ({torch.backends.cpu.get_cpu_capability()})"


def device_of(name: str) -> torch.device:
    """``auto`` takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def single_threaded(cores: int, device: torch.device | None = None) -> None:
    """torch on one thread (rows must not depend on how kernels split work); fused loops run rows over the cores.

    So does what is found on the host for each row, over those of the machine where the rows themselves are on a GPU.
    Freed memory is kept for the next update, see `keep_freed_memory`.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    use_threads(max(1, cores))
    beside = min(_BESIDE_GPU, all_cores() - 1) if device is not None and device.type == "cuda" else 1
    host_threads.use_threads(max(1, cores, beside))


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory, up to 256 MB; False where another C library is, or it refuses.

    By itself it may give memory back to the system that the next update asks for again: in some processes the pages of
    an LSTM's gradients and moments came anew at every update, a tenth of its time.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if allocator is None:
        return False
    # 32 MB are glibc's largest
    return all([allocator(option, size) == 1 for option, size in ((_TRIM, 256 << 20), (_MMAP, 32 << 20))])
