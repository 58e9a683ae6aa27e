# pyright: reportGeneralTypeIssues=false
# Triton's ranges and inlined functions are no Python to a type checker.
"""Symbols as one-hot vectors, and sequences that show a pattern and repeat it, in one launch each.

Shapes: P rows · T steps · B mini-batch · S symbols of a pattern.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core.gpu.launching import launch, power_of_two
from rnnsweep.core.rng import Draws

_TOGETHER = 2048
"""Entries of inputs that a program writes, about."""
WIDEST = 4096
"""Symbols that a program can write."""
WARPS = 4


@triton.jit
def _write(inputs, code, at, some, width, WIDTH: tl.constexpr, TOKENS: tl.constexpr):  # noqa: PLR0913
    """The codes at places of [P, T, B], or one-hot vectors of so many entries; -1 or zeros where the code is -1."""
    if TOKENS:
        tl.store(inputs + at, code, mask=some)
    else:
        k = tl.arange(0, WIDTH)[None, :]
        hot = code[:, None] == k
        tl.store(inputs + at[:, None] * width + k, hot.to(inputs.dtype.element_ty), mask=some[:, None] & (k < width))


@triton.jit(do_not_specialize=["entries", "T", "B", "width"])
def hot_kernel(  # noqa: PLR0913
    codes, own, inputs, own_row, own_step, own_item, entries, T, B, width,
    TOGETHER: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Writes one-hot `inputs` [P, T, B, width] of `codes` [P, T, B]; zeros where `own` is 0, read with its steps."""
    at = tl.program_id(0).to(tl.int64) * TOGETHER + tl.arange(0, TOGETHER)
    some = at < entries
    t, b = at // B % T, at % B
    counts = tl.load(own + at // B // T * own_row + t * own_step + b * own_item, mask=some, other=0) != 0
    code = tl.where(counts, tl.load(codes + at, mask=some, other=0), -1)
    _write(inputs, code, at, some, width, WIDTH, False)


@triton.jit(do_not_specialize=["entries", "T", "B", "span", "kinds", "lead"])
def recall_kernel(  # noqa: PLR0913
    pattern, lengths, inputs, targets, entries, T, B, span, kinds, lead,
    TOKENS: tl.constexpr, TOGETHER: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Writes `inputs` [P, T, B, kinds + 2], or codes, and `targets` [P, T, B] of a `pattern` [P, B, span].

    Shown first, from each row's own start, wanted last; blanks are `kinds`, and the trigger, one more, stands `lead`
    steps before the recall.
    """
    at = tl.program_id(0).to(tl.int64) * TOGETHER + tl.arange(0, TOGETHER)
    some = at < entries
    p, t, b = at // B // T, at // B % T, at % B
    shown = t - (T - tl.load(lengths + p, mask=some, other=0))
    recalled = t - (T - span)
    own = pattern + (p * B + b) * span
    shows, recalls = (shown >= 0) & (shown < span), recalled >= 0
    wanted = tl.load(own + recalled, mask=some & recalls, other=0)
    tl.store(targets + at, tl.where(recalls, wanted, kinds), mask=some)
    code = tl.where(recalled == 0 - lead, kinds + 1, kinds)
    # a pattern that reaches so far overwrites the trigger
    code = tl.where(shows, tl.load(own + shown, mask=some & shows, other=0), code).to(tl.int64)
    _write(inputs, tl.where(shown >= 0, code, -1), at, some, kinds + 2, WIDTH, TOKENS)


def hot(
    codes: Int64[Tensor, "P T B"], own: Bool[Tensor, "P T B"], width: int, dtype: torch.dtype
) -> Float[Tensor, "P T B width"]:
    """One-hot vectors of the codes; zeros where a step is not own."""
    P, T, B = codes.shape
    inputs = torch.empty(P, T, B, width, dtype=dtype, device=codes.device)
    cut = sizes_of(width)
    # a view, not a copy: lengths of rows say the same of all sequences
    arguments = (codes.contiguous(), own.view(torch.int8), inputs, *own.stride(), P * T * B, T, B, width)
    launch(hot_kernel, (-(-P * T * B // cut["TOGETHER"]),), arguments, warps=WARPS, **cut)
    return inputs


def recall(
    draws: Draws, lengths: Int64[Tensor, " P"], pattern: Int64[Tensor, "P B S"], T: int, kinds: int, *, lead: int
) -> tuple[Shaped[Tensor, "P T B ..."], Int64[Tensor, "P T B"]]:
    """Inputs, as `draws` asks for them, and targets of sequences that repeat a pattern."""
    P, B, S = pattern.shape
    shape, dtype = ((P, T, B), torch.int64) if draws.tokens else ((P, T, B, kinds + 2), draws.dtype)
    inputs = torch.empty(shape, dtype=dtype, device=draws.device)
    targets = torch.empty(P, T, B, dtype=torch.int64, device=draws.device)
    cut = sizes_of(1 if draws.tokens else kinds + 2)
    arguments = (pattern, lengths, inputs, targets, P * T * B, T, B, S, kinds, lead)
    launch(recall_kernel, (-(-P * T * B // cut["TOGETHER"]),), arguments, warps=WARPS, TOKENS=draws.tokens, **cut)
    return inputs, targets


def sizes_of(width: int) -> dict[str, int]:
    """Places of [P, T, B] that a program writes together, and entries of a vector with padding."""
    padded = power_of_two(width)
    return {"TOGETHER": max(1, min(256, _TOGETHER // padded)), "WIDTH": padded}
