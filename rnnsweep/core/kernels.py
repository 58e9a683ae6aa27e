"""Kernels for what an update does besides its loops, where a device runs them; and what may reach any kernel.

Triton is imported by the modules of `core.gpu` alone, and those are loaded from here alone.
"""

from __future__ import annotations

import importlib
from collections.abc import MutableMapping
from types import ModuleType
from typing import overload

import torch
from jaxtyping import Int64, Num, Shaped
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


def kernels_for(what: str, device: torch.device) -> ModuleType | None:
    """The module of `core.gpu` with this name where its kernels run on the device, else None: torch does it then.

    Asked of the kernel of random numbers, which is built first: where that one can be, the others can.
    """
    from rnnsweep.core import rng  # it needs numba, which not every importer of shapes has

    return None if rng.kernels_on(device) is None else importlib.import_module(f"rnnsweep.core.gpu.{what}")


_CHECKED: MutableMapping[Tensor, tuple[int, int, int]] = WeakTensorKeyDictionary()
"""Of tensors on a device whose range was asserted: their version then, and the range."""


class KernelArguments:
    """What may reach a compiled kernel: tensors and numbers as it counts on them.

    A kernel trusts type, place, shape and range blindly: a wrong one reads or writes foreign memory.

    Args:
        dtype: element type of the loop; whole numbers are int64.
        device: where all tensors of the launch are.

    Raises:
        TypeError: a tensor of another type or elsewhere: its bytes would be misread.
        ValueError: a tensor of another shape, or a whole number out of its range.

    Numerics:
        Values are never converted.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{dtype} has no fused loop; there are float32 and float64")
        self.dtype, self.device = dtype, device

    def check(
        self, name: str, tensor: Shaped[Tensor, " ..."], shape: tuple[int, ...], dtype: torch.dtype | None = None
    ) -> None:
        """Raise unless the tensor is of this shape, of the loop's type (or `dtype`), and where the loop runs."""
        wanted = dtype or self.dtype
        if tensor.dtype != wanted or tensor.device != self.device:
            raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}; this loop takes {wanted} on {self.device}")
        if tensor.shape != shape:
            raise ValueError(f"{name} is {list(tensor.shape)}; this loop takes {list(shape)}")

    @overload
    def packed(self, name: str, tensor: Num[Tensor, " ..."], shape: tuple[int, ...]) -> Num[Tensor, " ..."]: ...
    @overload
    def packed(self, name: str, tensor: None, shape: tuple[int, ...]) -> None: ...
    @overload
    def packed(
        self, name: str, tensor: Num[Tensor, " ..."] | None, shape: tuple[int, ...]
    ) -> Num[Tensor, " ..."] | None: ...
    def packed(
        self, name: str, tensor: Num[Tensor, " ..."] | None, shape: tuple[int, ...]
    ) -> Num[Tensor, " ..."] | None:
        """The tensor, checked and without gaps; None for None."""
        if tensor is None:
            return None
        self.check(name, tensor, shape)
        return tensor.contiguous()

    def whole(self, name: str, tensor: Shaped[Tensor, " ..."], count: int, low: int, high: int) -> Int64[Tensor, " P"]:
        """The tensor without gaps, int64 [count] with low <= values <= high: a kernel walks as far as they say."""
        self.check(name, tensor, (count,), torch.int64)
        if tensor.device.type == "cpu":
            # for so few numbers many times faster than a reduction
            values: list[int] = tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if values and not (low <= min(values) and max(values) <= high):
                raise ValueError(f"{name} = {values} is not within {low}..{high}")
        elif count and _CHECKED.get(tensor) != (tensor._version, low, high):  # pyright: ignore[reportPrivateUsage]
            # Asserted where they are: to read them here would wait for everything that the device has still to do.
            inside = (tensor.clamp(low, high) == tensor).all()
            torch._assert_async(inside, f"{name} is not within {low}..{high}")  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage, reportUnknownMemberType]
            # the way back of a loop asks again of what its way there asked; whoever writes into it changes the version
            _CHECKED[tensor] = (tensor._version, low, high)  # pyright: ignore[reportPrivateUsage]
        return tensor.contiguous()
