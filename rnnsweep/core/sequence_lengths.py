"""Which steps are a sequence's own: all end at T, and each begins as long before as its length says.

Lengths are int64 [P], one for all sequences of a row, or [P, B] where sequences of a row differ. What is made of them
here has an axis S of sequences, 1 or B, that broadcasts over the mini-batch: nothing else has to ask which it is.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from rnnsweep.core import numerics


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


def reversed_steps(x: Shaped[Tensor, "P T B K"], lengths: Int64[Tensor, "P ..."]) -> Shaped[Tensor, "P T B K"]:
    """Each sequence's own steps in reverse order; what stands before them stays. Twice: as it was, to the bit.

    Example:
        >>> reversed_steps(torch.arange(4)[None, :, None, None], torch.tensor([3])).flatten().tolist()
        [0, 3, 2, 1]
    """
    T = x.shape[1]
    # a graph that is exported asks no tensor for its numbers
    if not torch.compiler.is_exporting() and numerics.known_all(lengths == T):
        return x.flip(1)
    t = torch.arange(T, device=x.device)[None, :, None]
    mirrored = 2 * T - 1 - per_sequence(lengths)[:, None, :] - t  # P T S
    place = torch.where(own_steps(lengths, T), mirrored, t)
    return x.gather(1, place[..., None].expand(-1, -1, x.shape[2], x.shape[3]))


def ends_of(x: Shaped[Tensor, "P T B K"], lengths: Int64[Tensor, "P ..."]) -> Shaped[Tensor, "P B K"]:
    """Of what two directions show side by side, the first half at the last step, the second at a sequence's first."""
    ahead, reverse = x.chunk(2, -1)
    first = (x.shape[1] - per_sequence(lengths))[:, None, :, None]  # P 1 S 1
    start = reverse.gather(1, first.expand(-1, 1, x.shape[2], reverse.shape[3]))[:, 0]
    return torch.cat((ahead[:, -1], start), -1)


def total_steps(lengths: Int64[Tensor, "P ..."], B: int) -> Int64[Tensor, " P"]:
    """Own steps of all B sequences of a row together."""
    return lengths.sum(1) if lengths.ndim == 2 else lengths * B
