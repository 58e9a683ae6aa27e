"""Buffers that are used again as soon as nobody holds a tensor in them, so that no update faults fresh pages in."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ALIGN = 64
_LARGEST_IDLE = 1 << 30


@dataclass(eq=False)
class _Buffer:
    raw: np.ndarray
    start: int

    def idle(self) -> bool:
        """Whether no tensor and no view of one uses the buffer: each holds a reference to the array."""
        return sys.getrefcount(self.raw) == 2


class Workspace:
    """Recycles memory by size.

    A tensor that `take` returns stays valid for as long as it, or a view of it, is referenced. Contents are undefined.
    At most 1 GiB of idle buffers is kept. Not thread-safe: one workspace per engine, one engine per thread of control.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, list[_Buffer]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor without gaps, 64-byte aligned, with room for a vector beyond its end."""
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        size = count * dtype.itemsize
        buffer = self._idle(size) or self._new(size)
        return torch.frombuffer(buffer.raw, dtype=dtype, count=count, offset=buffer.start).view(shape)

    def _idle(self, size: int) -> _Buffer | None:
        return next((buffer for buffer in self._buffers.get(size, ()) if buffer.idle()), None)

    def _new(self, size: int) -> _Buffer:
        self._drop_idle_beyond(_LARGEST_IDLE - size)
        raw = np.empty(size + 2 * ALIGN, dtype=np.uint8)
        buffer = _Buffer(raw, -raw.ctypes.data % ALIGN)
        del raw
        self._buffers.setdefault(size, []).append(buffer)
        return buffer

    def _drop_idle_beyond(self, limit: int) -> None:
        idle = [(size, buffer) for size, held in self._buffers.items() for buffer in held if buffer.idle()]
        total = sum(size for size, _ in idle)
        for size, buffer in idle:
            if total <= limit:
                return
            self._buffers[size].remove(buffer)
            total -= size
