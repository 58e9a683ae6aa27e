"""What the host does for each row of a pack beside the device: on all cores that a worker has.

Only for work that lets go of Python's lock, as LAPACK does, and in which a row has tensors of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

_pool: list[tuple[ThreadPoolExecutor, int]] = []
"""Of this process with its size, once `use_threads` was called with more than one; until then who asks does all."""


def use_threads(count: int) -> None:
    """Let `of_rows` spread rows over so many threads from now on; a setting of the process."""
    for pool, _ in _pool:
        pool.shutdown(wait=False)
    named = {"thread_name_prefix": "rnnsweep-host", "initializer": _begin}
    _pool[:] = [(ThreadPoolExecutor(count, **named), count)] if count > 1 else []


def _begin() -> None:
    # A thread begins with as many of OpenMP's as there are cores, whatever torch was told: libraries split work then.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as the thread that trains, see `core.subnormals`


def of_rows(work: Callable[[int], None], count: int) -> None:
    """`work(0)`, `work(1)`, ..., `work(count - 1)`, in no order; raises what one of them raised."""
    if not _pool:
        for index in range(count):
            work(index)
        return
    threads, rows = _pool[0]
    left = iter(range(count))  # each thread draws its next row: far fewer wake-ups than a task per row

    def some() -> None:
        for index in left:
            work(index)

    begun: list[Future[None]] = [threads.submit(some) for _ in range(min(rows, count))]
    for one in begun:
        one.result()
