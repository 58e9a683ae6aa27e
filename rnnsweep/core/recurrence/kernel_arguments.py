"""What may reach a compiled loop: tensors and numbers, checked before their addresses go out."""

from __future__ import annotations

from typing import overload

import torch
from jaxtyping import Int64, Num, Shaped
from torch import Tensor

from rnnsweep.core.types import Direct, Record


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
        elif count:
            # Asserted where they are: to read them here would wait for everything that the device has still to do.
            inside = ((tensor >= low) & (tensor <= high)).all()
            torch._assert_async(inside, f"{name} is not within {low}..{high}")  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage, reportUnknownMemberType]
        return tensor.contiguous()


def check_parts(record: Record, direct: Direct, name: str, derives_slope: bool) -> None:
    """Raise `ValueError` for parts of a record or of its direct gradients without which a loop would read nothing.

    Args:
        record, direct: what a backward loop goes over.
        name: the activation's. derives_slope: whether its f' is read from the state.
    """
    if (direct.last is None) == (direct.steps is None):
        raise ValueError("one of the two direct parts must be given: last, or steps")
    if record.slope is None and not (derives_slope and record.weights.leak is None):
        raise ValueError(f"a record of {name} without slopes: another activation's, or another leak's?")
    if record.slope is None and record.weights.act_bias is not None:
        raise ValueError(f"{name} has no parameter act_bias")
