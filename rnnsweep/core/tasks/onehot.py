"""Symbols as one-hot vectors, or as their codes. Shapes: P rows · T steps · B mini-batch."""

from __future__ import annotations

from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.rng import Draws


def symbols(
    codes: Int64[Tensor, "P T B"], own: Bool[Tensor, "P T ..."], width: int, draws: Draws
) -> Float[Tensor, "P T B width"] | Int64[Tensor, "P T B"]:
    """Inputs of a task of symbols: [P, T, B, width], or codes [P, T, B] where `draws.tokens` asks for them.

    Args:
        codes: int64 [P, T, B], each in 0..width-1, also where they do not count.
        own: bool [P, T] or [P, T, B], steps that belong to the sequence.
        width: number of symbols.
        draws: of the mini-batch.

    Numerics:
        Entries are exactly 0 and 1: 1 at the code of every own step. Codes of steps outside are -1.
    """
    one = own if own.ndim == 3 else own[:, :, None].expand(codes.shape)
    if draws.tokens:
        return torch.where(one, codes, torch.full_like(codes, -1))
    kernels = symbol_kernels(draws, width)
    if kernels is not None:
        return kernels.hot(codes, one.expand(codes.shape), width, draws.dtype)
    inputs = torch.zeros(*codes.shape, width, dtype=draws.dtype, device=codes.device)
    # steps outside scatter a 0, so that their codes need not be masked
    return inputs.scatter_(3, codes[..., None], one[..., None].to(draws.dtype))


def symbol_kernels(draws: Draws, width: int) -> ModuleType | None:
    """`core.gpu.symbols` where it is to be used, and takes so many symbols."""
    kernels = kernels_for("symbols", draws.device) if draws.compiled else None
    return kernels if kernels is not None and width <= kernels.WIDEST else None


def codes_of(inputs: Float[Tensor, "P T B I"]) -> Int64[Tensor, "P T B"]:
    """Codes of one-hot vectors; -1 where there is none."""
    return torch.where(inputs.amax(-1) > 0, inputs.argmax(-1), -1)
