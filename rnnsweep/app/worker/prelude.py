"""What every worker of a sweep needs, brought in while the driver still reads and checks the sweep."""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ALWAYS = ("rnnsweep.app.worker.factory", "rnnsweep.app.worker.trainer")
ON_CPU = ("rnnsweep.core.recurrence.cpu.engine.simple", "rnnsweep.core.recurrence.cpu.emit.formulas")
ON_GPU = ("triton", "rnnsweep.core.gpu.random_numbers", "rnnsweep.core.recurrence.gpu.engine")


def load(device: str) -> None:
    """Import torch, the trainer and an engine, open the device and draw a first random number: two to four seconds.

    Whatever fails here is met again, and told, by what needs it. Nothing of it goes on when this returns: beside what a
    trainer records on a device, nobody else may use that.

    Args:
        device: ``cpu``, ``cuda`` or ``auto``, as of `TrainerSettings`.
    """
    import torch

    gpu = device != "cpu" and torch.cuda.is_available()
    # a context takes the driver a second, in which this thread is free to import
    context = threading.Thread(target=_open_gpu, name="device")
    if gpu:
        context.start()
    for name in (*ALWAYS, *(ON_GPU if gpu else ON_CPU)):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if gpu:
        context.join()
    with contextlib.suppress(Exception):
        _first_numbers(torch.device("cuda" if gpu else "cpu"))
    # What was imported stays. The collector need not go through it again: that takes a fifth of a second, in which no
    # thread of the worker does anything, most likely between two rungs, where most objects are made.
    gc.freeze()


def _open_gpu() -> None:
    import torch

    with contextlib.suppress(Exception):
        torch.zeros(1, device="cuda")


def _first_numbers(device: torch.device) -> None:
    """Initial weights are drawn by numba's loops, which it takes most of a second to load; batches by the device."""
    import torch

    from rnnsweep.core import rng

    rng.normals(torch.zeros(1, dtype=torch.int64), 1, 0)
    rng.kernels_on(device)
