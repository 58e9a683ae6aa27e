"""How tensors become addresses: what may be read in place, and what is copied first."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnsweep.core.recurrence.cpu.host import UNIT_BYTES

_NOTHING = torch.zeros(8, dtype=torch.float64)
"""Stands in for tensors without entries; never read."""


def width_of(columns: int, dtype: torch.dtype) -> int:
    """Columns rounded up to whole units of a vector.

    Numerics:
        Depends on the CPU only.
    """
    lanes = UNIT_BYTES // dtype.itemsize
    return -(-columns // lanes) * lanes


class Held:
    """Addresses of tensors, which stay alive as long as this object does.

    Args:
        dtype: element type of the loop; whole numbers are int64.

    Raises:
        TypeError: a tensor of another type or not in main memory: its bytes would be misread.

    Numerics:
        Values are never converted.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._allowed = (dtype, torch.int64)
        self._tensors: list[Tensor] = []

    def __call__(self, tensor: Tensor | None) -> int:
        """Address of the tensor, of a copy without gaps where it has gaps; 0 for None."""
        return self.view(None if tensor is None else tensor.contiguous())

    def view(self, tensor: Tensor | None) -> int:
        """Address of the tensor as it lies in memory; 0 for None.

        A tensor without entries (a network without inputs) has no memory of its own, and must not be taken for None.
        """
        if tensor is None:
            return 0
        if tensor.dtype not in self._allowed or tensor.device.type != "cpu":
            raise TypeError(f"{tensor.dtype} on {tensor.device}; this loop takes {self._allowed} on the CPU")
        if tensor.numel() == 0:
            tensor = _NOTHING
        self._tensors.append(tensor)
        return tensor.data_ptr()

    def matrix(self, w: Tensor) -> dict[str, int]:
        """`w_rec` and `w_row` of square matrices [P, H, H]; matrices in a larger slab are read where they are."""
        H = w.shape[-1]
        if w.stride()[1:] != (H, 1):
            w = w.contiguous()
        return {"w_rec": self.view(w), "w_row": w.stride(0)}


def padded(x: Tensor) -> Tensor:
    """The tensor [P, T, B, H] with rows padded to whole units and no other gaps; a copy where it is not yet so."""
    P, T, B, H = x.shape
    W = width_of(H, x.dtype)
    if x.stride() == (T * B * W, B * W, W, 1) and _fits(x, W):
        return x
    wide = x.new_zeros(P, T, B, W)
    wide[..., :H] = x
    return wide[..., :H]


def rows_of(x: Tensor, W: int) -> Tensor:
    """The tensor [P, T, B, H] with one stride for all (t, b) rows, and W >= H entries readable per row."""
    P, T, B, H = x.shape
    if x.stride(3) == 1 and x.stride(1) == B * x.stride(2) and x.stride(2) >= W and _fits(x, W):
        return x
    wide = x.new_zeros(P, T, B, max(W, H))
    wide[..., :H] = x
    return wide[..., :H]


def _fits(x: Tensor, W: int) -> bool:
    """Whether W entries from the start of the last row on lie within the tensor's memory."""
    last = sum((n - 1) * s for n, s in zip(x.shape[:-1], x.stride()[:-1], strict=True))
    return (x.storage_offset() + last + W) * x.element_size() <= x.untyped_storage().nbytes()
