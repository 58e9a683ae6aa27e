"""How a kernel is launched: recycled buffers, tensors as checked addresses, rows spread over threads.

A kernel trusts its job blindly: a wrong address or size reads or writes foreign memory. So every address comes from
`TensorAddresses`, which knows the shape and the type that the kernel counts on, and every size that a kernel reads from
memory (lengths, horizons) is checked here too. Shapes: see `core.types`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Num, Shaped
from torch import Tensor

from rnnsweep.core import host_graph
from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.cpu.host import UNIT_BYTES
from rnnsweep.core.remembered import keeping
from rnnsweep.core.sequence_lengths import row_lengths

ALIGN = 64
"""Bytes: buffers begin on a cache line, and so on the longest vector's width."""
SAMPLES_PER_BLOCK = 96
"""About as many samples per block of steps: their states and deltas, and the sums they are added to, stay in L2."""
_LARGEST_IDLE = 1 << 30

_MAIN_MEMORY = torch.device("cpu")

_NOTHING = torch.zeros(8, dtype=torch.float64)
"""Stands in for tensors without entries; never read."""


@dataclass(eq=False)
class _Buffer:
    raw: np.ndarray
    start: int
    memory: range

    def idle(self) -> bool:
        """Whether no tensor and no view of one uses the buffer: each holds a reference to the array."""
        return sys.getrefcount(self.raw) == 2  # this object's, and the argument's


class Workspace:
    """Recycles memory by size: no update faults fresh pages in.

    A tensor that `take` returns stays valid for as long as it, or a view of it, is referenced. Contents are undefined.
    At most 1 GiB of idle buffers is kept; what is remembered beyond an update gets memory of its own (`keeping`).
    Not thread-safe: one workspace per engine, one engine per thread of control.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, list[_Buffer]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Shaped[Tensor, " ..."]:
        """A tensor without gaps, 64-byte aligned, with room for a vector beyond its end."""
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        size = count * dtype.itemsize
        if keeping():
            buffer = _buffer(size)
        else:
            # By exact size: a pack asks for the same few sizes at every update.
            buffer = self._idle(size) or self._new(size)
            host_graph.lends(buffer)
        return torch.frombuffer(buffer.raw, dtype=dtype, count=count, offset=buffer.start).view(shape)

    def _idle(self, size: int) -> _Buffer | None:
        return next((buffer for buffer in self._buffers.get(size, ()) if buffer.idle()), None)

    def _new(self, size: int) -> _Buffer:
        self._drop_idle_beyond(_LARGEST_IDLE - size)
        buffer = _buffer(size)
        self._buffers.setdefault(size, []).append(buffer)
        return buffer

    def _drop_idle_beyond(self, limit: int) -> None:
        idle = [(size, buffer) for size, buffers in self._buffers.items() for buffer in buffers if buffer.idle()]
        total = sum(size for size, _ in idle)
        for size, buffer in idle:
            if total <= limit:
                return
            self._buffers[size].remove(buffer)
            total -= size


def _buffer(size: int) -> _Buffer:
    raw = np.empty(size + 2 * ALIGN, dtype=np.uint8)  # one for the alignment, one for reads beyond the end
    address = raw.ctypes.data
    return _Buffer(raw, -address % ALIGN, range(address, address + len(raw)))


class TensorAddresses(KernelArguments):
    """Addresses of checked tensors, which stay alive as long as this object does.

    Args:
        dtype: element type of the loop; whole numbers are int64.

    Raises:
        TypeError, ValueError: see `KernelArguments`.

    Numerics:
        Values are never converted.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype, _MAIN_MEMORY)
        self._tensors: list[Tensor] = []

    def read(
        self,
        name: str,
        tensor: Shaped[Tensor, " ..."] | None,
        shape: tuple[int, ...],
        dtype: torch.dtype | None = None,
    ) -> int:
        """Address of a tensor that is read, of a copy without gaps where it has gaps; 0 for None."""
        return 0 if tensor is None else self.view(name, tensor.contiguous(), shape, dtype)

    def view(
        self,
        name: str,
        tensor: Shaped[Tensor, " ..."] | None,
        shape: tuple[int, ...],
        dtype: torch.dtype | None = None,
    ) -> int:
        """Address of the tensor as it lies in memory, for the caller knows its gaps; 0 for None.

        A tensor without entries (a network without inputs) has no memory of its own, and must not be taken for None.
        `dtype` is its type where that is not the loop's.
        """
        if tensor is None:
            return 0
        self.check(name, tensor, shape, dtype)
        # Tensors without entries may have address 0, which kernels take for "absent".
        if 0 in shape:
            tensor = _NOTHING
        self._tensors.append(tensor)
        return host_graph.address_of(tensor)

    def matrices(self, name: str, w: Num[Tensor, "P R A"], shape: tuple[int, int, int]) -> tuple[int, int]:
        """Address of matrices [P, R, A], and entries from one to the next: in a larger slab they are read in place."""
        if w.stride()[1:] != (w.shape[-1], 1):
            w = w.contiguous()
        return self.view(name, w, shape), w.stride(0)

    def numbers(self, name: str, tensor: Shaped[Tensor, " ..."], count: int, low: int, high: int) -> int:
        """Address of int64 [count] with low <= values <= high."""
        tensor = self.whole(name, tensor, count, low, high)
        self._tensors.append(tensor)
        return host_graph.address_of(tensor)

    def lengths(self, lengths: Int64[Tensor, "P ..."], P: int, B: int, T: int) -> tuple[int, int]:
        """Addresses of the rows' lengths (the longest sequences'), and of all sequences' if they differ, else 0."""
        if lengths.ndim == 1:
            return self.numbers("lengths", lengths, P, 1, T), 0
        self.check("lengths", lengths, (P, B), torch.int64)
        each = self.numbers("lengths", lengths.flatten(), P * B, 1, T)
        return self.numbers("lengths", row_lengths(lengths), P, 1, T), each

    def flags(self, name: str, rows: Shaped[Tensor, " P"], count: int) -> int:
        """Address of bool [count] as int64."""
        return self.numbers(name, rows.to(torch.int64), count, 0, 1)


def width_of(columns: int, dtype: torch.dtype) -> int:
    """Columns rounded up to whole units of a vector.

    Numerics:
        Depends on the CPU only.
    """
    lanes = UNIT_BYTES // dtype.itemsize
    return -(-columns // lanes) * lanes


def padded(x: Num[Tensor, "P T B H"]) -> Num[Tensor, "P T B H"]:
    """The tensor with rows padded to whole units and no other gaps; a copy where it is not yet so."""
    P, T, B, H = x.shape
    W = width_of(H, x.dtype)
    if x.stride() == (T * B * W, B * W, W, 1) and _fits(x, W):
        return x
    wide = x.new_zeros(P, T, B, W)
    wide[..., :H] = x
    return wide[..., :H]


def rows_of(x: Num[Tensor, "P T B H"], W: int) -> Num[Tensor, "P T B H"]:
    """The tensor with one stride for all (t, b) rows, and W >= H entries readable per row."""
    P, T, B, H = x.shape
    if x.stride(3) == 1 and x.stride(1) == B * x.stride(2) and x.stride(2) >= W and _fits(x, W):
        return x
    wide = x.new_zeros(P, T, B, max(W, H))
    wide[..., :H] = x
    return wide[..., :H]


def _fits(x: Tensor, W: int) -> bool:
    """Whether W entries from the start of the last row on lie within the tensor's memory."""
    last = sum((n - 1) * s for n, s in zip(x.shape[:-1], x.stride()[:-1], strict=True))
    return (x.storage_offset() + last + W) * x.element_size() <= x.untyped_storage().nbytes()


_given: list[int] = []
"""Threads of this process's engines, once `use_threads` was called."""


def use_threads(count: int) -> None:
    """Let engines that are made from now on spread rows over so many threads; until then they have as many as torch.

    A setting of the process, as torch's own is, but not the same one: what torch splits over threads depends on how
    many there are, to the bit, and rows do not.
    """
    _given[:] = [count]


class RowThreads:
    """Runs kernels over the rows of a pack, a range of rows per thread.

    Attributes:
        count: threads; None given: see `use_threads`.
    """

    def __init__(self, count: int | None, workspace: Workspace) -> None:
        self.count = count or next(iter(_given), None) or torch.get_num_threads()
        self._workspace = workspace
        self._room: Tensor | None = None
        self._pool: ThreadPoolExecutor | None = None

    def run(self, kernel: Callable[..., None], job: Any, P: int, dtype: torch.dtype, scratch: int) -> None:
        """Run `kernel(zero, job, first, last, thread, address)` over all rows; `scratch`: bytes per thread."""
        kind = np.float32 if dtype == torch.float32 else np.float64
        # A row is one thread's: more threads than rows would find nothing to do.
        count = min(self.count, P)
        # A cache line between the threads' memories: they would take the shared one from each other at every write.
        stride = -(-scratch // ALIGN) * ALIGN + ALIGN
        begin = self._memory(count * stride)
        bounds = [P * i // count for i in range(count + 1)]

        def work(i: int) -> None:
            kernel(kind(0), job, bounds[i], bounds[i + 1], i, begin + i * stride)

        if count == 1:
            host_graph.launch(work, 0)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="rnnsweep-cpu")
        host_graph.launch(_all, self._pool, work, count)

    def _memory(self, size: int) -> int:
        """Address of so many bytes, the same ones from call to call: kernels leave nothing there."""
        if self._room is None or self._room.numel() < size:
            with host_graph.aside():  # it stays taken
                self._room = self._workspace.take((size,), torch.uint8)
        return host_graph.address_of(self._room)


def _all(pool: ThreadPoolExecutor, work: Callable[[int], None], count: int) -> None:
    # `list` waits for all, and raises what a thread raised.
    list(pool.map(work, range(count)))
