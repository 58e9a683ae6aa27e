"""Kernels for what an update does besides its loops, and what may reach any kernel.

Triton is imported by the modules of `core.gpu` alone, and those are loaded from here alone; so are those of `core.cpu`,
which numba compiles.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import overload

import torch
from jaxtyping import Float, Float64, Int8, Int64, Num, Shaped
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from rnnsweep.core.host_graph import launch


def kernels_for(what: str, device: torch.device) -> ModuleType | None:
    """The module of `core.gpu` or `core.cpu` with this name where its kernels run; None where torch does it.

    On a device the kernel of random numbers is asked, which is built first: where that one can be, the others can.
    """
    try:
        from rnnsweep.core import rng  # it needs numba, which not every importer of shapes has
    except ImportError:
        return None
    if rng.kernels_on(device) is not None:
        return _module("gpu", what)
    return _compiled(what) if device.type == "cpu" else None


def _compiled(what: str) -> ModuleType | None:
    module = _module("cpu", what)
    # a module that is written in vectors says whether this machine has them
    return module if getattr(module, "AVAILABLE", True) else None


@cache
def _module(room: str, what: str) -> ModuleType | None:
    """None where the room has none of this name."""
    name = f"rnnsweep.core.{room}.{what}"
    return None if importlib.util.find_spec(name) is None else importlib.import_module(name)


@dataclass(frozen=True, eq=False)
class Rows:
    """What a step changes, in place, and what it reads of each row.

    Attributes:
        params: parameters. slots: the optimiser's state, in the order of its formula.
        status, step, taken, until, diverged_at: see `tile.Tile`.
        hypers: what the formula reads, in its order, rates as of this update.
        decay: learning rate and weight of decoupled decay, where any row has it.
    """

    params: Float[Tensor, "P N"]
    slots: tuple[Float[Tensor, "P N"], ...]
    status: Int8[Tensor, " P"]
    step: Int64[Tensor, " P"]
    taken: Int64[Tensor, " P"]
    until: Int64[Tensor, " P"]
    diverged_at: Int64[Tensor, " P"]
    hypers: tuple[Float[Tensor, "P 1"], ...]
    decay: tuple[Float[Tensor, "P 1"], Float[Tensor, "P 1"]] | None


Cells = tuple[Float64[Tensor, " P"], Shaped[Tensor, " P"]]
"""A total of the tally, float64, and how often a row added to it, float64, or whether it ever could, bool."""


@dataclass(frozen=True)
class Told:
    """What a step adds to the tally (`Tally.of_mean`, `Tally.of_count`).

    Attributes:
        loss, norm, clipped_norm: means. nonfinite: a count. share: of clipped updates; None where nothing is clipped.
    """

    loss: Cells
    norm: Cells
    nonfinite: Cells
    share: Cells | None
    clipped_norm: Cells


@dataclass(frozen=True)
class Limit:
    """Clipping of the joint norm.

    Attributes:
        threshold: largest norm of each row.
        diverges: whether a row whose norm is not finite ends; else its step is dropped.
    """

    threshold: Float[Tensor, " P"]
    diverges: bool


@dataclass(frozen=True)
class LastStep:
    """What `read_outs.read_last` makes of a mini-batch: `errors` is dC/d outputs, the last three dC/d h and so on."""

    outputs: Float[Tensor, "P B O"]
    loss: Float[Tensor, " P"]
    errors: Float[Tensor, "P B O"]
    h: Float[Tensor, "P B H"]
    w_out: Float[Tensor, "P H O"]
    b_out: Float[Tensor, "P O"] | None


def _require_within(name: str, tensor: Int64[Tensor, " P"], low: int, high: int) -> None:
    # for so few numbers many times faster than a reduction
    values: list[int] = tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if values and not (low <= min(values) and max(values) <= high):
        raise ValueError(f"{name} = {values} is not within {low}..{high}")


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
            launch(_require_within, name, tensor, low, high)
        elif count and _CHECKED.get(tensor) != (tensor._version, low, high):  # pyright: ignore[reportPrivateUsage]
            # Asserted where they are: to read them here would wait for everything that the device has still to do.
            inside = (tensor.clamp(low, high) == tensor).all()
            torch._assert_async(inside, f"{name} is not within {low}..{high}")  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage, reportUnknownMemberType]
            # the way back of a loop asks again of what its way there asked; whoever writes into it changes the version
            _CHECKED[tensor] = (tensor._version, low, high)  # pyright: ignore[reportPrivateUsage]
        return tensor.contiguous()
