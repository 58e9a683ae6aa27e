"""How kernels are launched, and what they share."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


def launch(kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], *, warps: int, **sizes: Any) -> None:
    """One launch on the device of the first argument.

    Products and sums are not fused unless a kernel's caller asks for it: entries are then rounded as torch rounds them.
    """
    first: Tensor = arguments[0]
    # Triton launches on the current device, whatever device the tensors are on.
    place: Any = torch.cuda.device(first.device) if first.device.type == "cuda" else nullcontext()
    with place:
        kernel[grid](*arguments, **sizes, num_warps=warps, enable_fp_fusion=False)


def power_of_two(size: int, least: int = 1, most: int = 1 << 30) -> int:
    """The smallest power of two that holds so many, within bounds that are powers of two."""
    return max(least, min(int(triton.next_power_of_2(size)), most))


@triton.jit
def finite(x):
    """Whether x is neither NaN nor infinite, as `numerics.finite`."""
    return (x - x) == 0


@triton.jit
def root(x):
    """Square root, rounded once."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@triton.jit
def ratio(x, y):
    """x / y, rounded once."""
    if y.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y
