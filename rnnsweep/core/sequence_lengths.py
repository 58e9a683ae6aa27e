"""Which steps are a sequence's own: all end at T, and each begins as long before as its length says.

Lengths are int64 [P], one for all sequences of a row, or [P, B] where sequences of a row differ. What is made of them
here has an axis S of sequences, 1 or B, that broadcasts over the mini-batch: nothing else has to ask which it is.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def per_sequence(lengths: Int64[Tensor, "P ..."]) -> Int64[Tensor, "P S"]:
    """Lengths with the axis of sequences."""
    return lengths if lengths.ndim == 2 else lengths[:, None]


def row_lengths(lengths: Int64[Tensor, "P ..."]) -> Int64[Tensor, " P"]:
    """Steps of each row's longest sequence."""
    return lengths.amax(1) if lengths.ndim == 2 else lengths


def shared_lengths(lengths: Int64[Tensor, "P ..."]) -> Int64[Tensor, " P"]:
    """Steps that all sequences of a row have."""
    return lengths.amin(1) if lengths.ndim == 2 else lengths


def own_steps(lengths: Int64[Tensor, "P ..."], T: int) -> Bool[Tensor, "P T S"]:
    """Whether a step is the sequence's own.

    Example:
        >>> own_steps(torch.tensor([[1, 3]]), 3).long().tolist()
        [[[0, 1], [0, 1], [1, 1]]]
    """
    return torch.arange(T, device=lengths.device)[None, :, None] >= (T - per_sequence(lengths))[:, None, :]


def row_steps(lengths: Int64[Tensor, " P"], T: int) -> Bool[Tensor, "P T"]:
    """The same for all sequences of a row: whether a step is theirs."""
    return own_steps(lengths, T)[..., 0]


def own_at(lengths: Int64[Tensor, "P ..."], t: int, T: int) -> Bool[Tensor, "P S"]:
    """Whether step index t is the sequence's own."""
    return t >= T - per_sequence(lengths)


def total_steps(lengths: Int64[Tensor, "P ..."], B: int) -> Int64[Tensor, " P"]:
    """Own steps of all B sequences of a row together."""
    return lengths.sum(1) if lengths.ndim == 2 else lengths * B
