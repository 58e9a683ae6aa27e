"""What the host does for each row of a pack beside the device: on all cores that a worker has.

Only for work that lets go of Python's lock, as LAPACK does, and in which a row has tensors of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

_pool: list[ThreadPoolExecutor] = []
"""Of this process, once `use_threads` was called with more than one; until then all is done by who asks."""


def use_threads(count: int) -> None:
    """Let `begin` spread rows over so many threads from now on; a setting of the process."""
    for pool in _pool:
        pool.shutdown(wait=False)
    # A thread begins with as many of OpenMP's as there are cores, whatever torch was told: libraries split work then.
    named = {"thread_name_prefix": "rnnsweep-host", "initializer": torch.set_num_threads, "initargs": (1,)}
    _pool[:] = [ThreadPoolExecutor(count, **named)] if count > 1 else []


def begin(work: Callable[[int], None], count: int) -> Callable[[], None]:
    """Begin `work(0)`, `work(1)`, ..., `work(count - 1)`, in no order.

    Returns:
        What waits for all of it, and raises what one of them raised.
    """
    if not _pool:
        for index in range(count):
            work(index)
        return lambda: None
    begun: list[Future[None]] = [_pool[0].submit(work, index) for index in range(count)]

    def wait() -> None:
        for one in begun:
            one.result()

    return wait
