"""Symbols as one-hot vectors. Shapes: P rows · T steps · B mini-batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def one_hot(
    codes: Int64[Tensor, "P T B"], own: Bool[Tensor, "P T ..."], width: int, dtype: torch.dtype
) -> Float[Tensor, "P T B width"]:
    """Inputs [P, T, B, width]: 1 at the code of every own step, 0 elsewhere.

    Args:
        codes: int64 [P, T, B], each in 0..width-1, also where they do not count.
        own: bool [P, T] or [P, T, B], steps that belong to the sequence.
        width: number of symbols.
        dtype: of the result.

    Numerics:
        Entries are exactly 0 and 1.
    """
    inputs = torch.zeros(*codes.shape, width, dtype=dtype, device=codes.device)
    one = own if own.ndim == 3 else own[:, :, None].expand(codes.shape)
    # steps outside scatter a 0, so that their codes need not be masked
    return inputs.scatter_(3, codes[..., None], one[..., None].to(dtype))
