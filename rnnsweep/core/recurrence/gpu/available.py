"""Whether kernels of a GPU serve the maps of recurrent weights; importable without triton."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch
from jaxtyping import Shaped
from torch import Tensor

from rnnsweep.core import rng


def map_kernels(*tensors: Shaped[Tensor, " ..."]) -> ModuleType | None:
    """`gpu.maps`, or None where it is not for these tensors.

    None on other devices than a GPU, in other types than float32 and float64, while a graph is exported, and on a
    machine where Triton cannot build a kernel (`rng.kernels_on` has tried, and says so).
    """
    if torch.compiler.is_exporting() or any(x.dtype not in (torch.float32, torch.float64) for x in tensors):
        return None
    if any(x.device.type != "cuda" for x in tensors) or rng.kernels_on(tensors[0].device) is None:
        return None
    return importlib.import_module(f"{__package__}.maps")
