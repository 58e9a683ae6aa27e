"""Kernels for what an update does besides its loops, where the device runs them; on the CPU there are none.

Triton is imported by the modules of `core.gpu` alone, and those are loaded from here alone.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch


def kernels_for(what: str, device: torch.device) -> ModuleType | None:
    """The module of `core.gpu` with this name where its kernels run on the device, else None: torch does it then.

    Asked of the kernel of random numbers, which is built first: where that one can be, the others can.
    """
    from rnnsweep.core import rng  # it needs numba, which not every importer of shapes has

    return None if rng.kernels_on(device) is None else importlib.import_module(f"rnnsweep.core.gpu.{what}")
