"""Rows of a pack spread over threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from rnnsweep.core.recurrence.cpu.workspace import ALIGN, Workspace


class RowThreads:
    """Runs kernels over the rows of a pack, a range of rows per thread.

    Attributes:
        count: threads.
    """

    def __init__(self, count: int | None, workspace: Workspace) -> None:
        self.count = count or torch.get_num_threads()
        self._workspace = workspace
        self._pool: ThreadPoolExecutor | None = None

    def run(self, loop: Callable[..., None], job: Any, P: int, dtype: torch.dtype, scratch: int) -> None:
        """Run `loop(zero, job, (first, last, thread), scratch address)`; `scratch`: elements per thread."""
        kind = np.float32 if dtype == torch.float32 else np.float64
        count = min(self.count, P)
        stride = -(-(scratch + ALIGN) // ALIGN) * ALIGN
        room = self._workspace.take((count, stride), dtype)
        bounds = [P * i // count for i in range(count + 1)]

        def work(i: int) -> None:
            loop(kind(0), job, (bounds[i], bounds[i + 1], i), room[i].data_ptr())

        if count == 1:
            work(0)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="rnnsweep-cpu")
        list(self._pool.map(work, range(count)))
