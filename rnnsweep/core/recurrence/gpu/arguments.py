"""What reaches the loops of a GPU: checked, without gaps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.gpu.description import Description

_MOST_ENTRIES = 2**31 - 1


def arguments(like: Float[Tensor, " ..."], entries: int) -> KernelArguments:
    """For tensors like this one.

    Raises:
        ValueError: a row has more entries of one tensor than a program counts: its offsets are int32.
    """
    if entries > _MOST_ENTRIES:
        raise ValueError(
            f"a row has {entries} states; the gpu engine's kernels count to {_MOST_ENTRIES}: use a smaller batch"
        )
    return KernelArguments(like.dtype, like.device)


def lengths_of(at: KernelArguments, lengths: Int64[Tensor, "P ..."], P: int, B: int, T: int) -> Int64[Tensor, "P ..."]:
    """Lengths of the rows, or of all sequences."""
    if lengths.ndim == 1:
        return at.whole("lengths", lengths, P, 1, T)
    at.check("lengths", lengths, (P, B), torch.int64)
    return at.whole("lengths", lengths.flatten(), P * B, 1, T).view(P, B)


def parameter(
    at: KernelArguments, name: str, tensor: Float[Tensor, "P ..."] | None, shape: tuple[int, ...]
) -> Float[Tensor, "P ..."] | None:
    """A parameter, checked; each row's without gaps. Rows may lie apart, as those of a pack's flat parameters do."""
    if tensor is None:
        return None
    at.check(name, tensor, shape)
    return tensor if not tensor.numel() or tensor[0].is_contiguous() else tensor.contiguous()


def own_of(
    at: KernelArguments, description: Description, values: Mapping[str, Float[Tensor, "P ..."] | None], P: int
) -> Float[Tensor, "P N U"]:
    """Those of the parameters that the formulas read, [P, 1] or [P, U], side by side; a number is for all units."""
    U = description.units
    blocks: list[Tensor] = []
    for name in description.formulas.own:
        value = values.get(name)
        if value is None:
            raise ValueError(f"this loop reads {name}, which is missing")
        at.check(name, value, (P, value.shape[-1]))
        blocks.append(value.expand(P, U))  # torch refuses what is neither one number nor as wide as a block
    return torch.stack(blocks, 1) if blocks else torch.empty(P, 0, U, dtype=at.dtype, device=at.device)
