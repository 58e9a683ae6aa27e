"""Heads: equal groups of units that see only each other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

HEADS = Range(1, integer=True, open_high=True)


def check_heads(hidden: int, heads: int) -> None:
    """Refuse what leaves a group of another size.

    Raises:
        ConfigError: `heads` does not divide `hidden`.
    """
    if hidden % heads:
        problem = f"{hidden} hidden units do not make equal heads"
        raise ConfigError(problem, key="family.heads", value=heads, allowed=f"a divisor of {hidden}")


def spread_heads(blocks: Float[Tensor, "P D A"], hidden: int) -> Float[Tensor, "P H A"]:
    """The matrix [P, H, A] from all units, of blocks [P, D, A] from those of the same head; A is a multiple of H."""
    heads = hidden // blocks.shape[1]
    if heads == 1:
        return blocks
    whole = blocks.repeat(1, heads, 1)
    return torch.where(_same_head(whole, heads), whole, torch.zeros_like(whole))


def gather_heads(whole: Float[Tensor, "P H A"], heads: int) -> Float[Tensor, "P D A"]:
    """The blocks of a matrix [P, H, A]: the transpose of `spread_heads`."""
    if heads == 1:
        return whole
    # Selected, not multiplied; what is added to each block's entry is 0.
    own = torch.where(_same_head(whole, heads), whole, torch.zeros_like(whole))
    return own.unflatten(1, (heads, -1)).sum(1)


def _same_head(whole: Tensor, heads: int) -> Tensor:
    """Whether a line's unit and a column's are of one head, [H, A]."""
    _, H, A = whole.shape
    size = H // heads
    line, column = (torch.arange(n, device=whole.device) % H // size for n in (H, A))
    return line[:, None] == column[None, :]
