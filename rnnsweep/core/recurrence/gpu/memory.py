"""Reading and writing tensors that may be absent (None), and the shares of a leaky cell."""

from __future__ import annotations

import triton
import triton.language as tl

from rnnsweep.core.recurrence.gpu.pointwise import slope_from_output


@triton.jit
def spread(vector, row, n, like, H: tl.constexpr):
    """A row's vector [H] as a tile [1, units] of `like`'s type; zero where absent."""
    tile = tl.zeros((1, n.shape[0]), like.dtype.element_ty)
    if vector is not None:
        tile += tl.load(vector + row * H + n, mask=n < H, other=0.0)[None, :]
    return tile


@triton.jit
def put(target, offset, at, x, own):
    """Write a tile, where there is a target."""
    if target is not None:
        tl.store(target + offset + at, x, mask=own)


@triton.jit
def put_sum(target, x, n, H: tl.constexpr):
    """Write a tile's sum over the batch to [row, batch tile, H], where there is a target."""
    if target is not None:
        place = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
        tl.store(target + place * H + n, tl.sum(x, 0), mask=n < H)


@triton.jit
def slope_at(h, slopes, base, t, size, at, own, ACT: tl.constexpr):  # noqa: PLR0913
    """f'(a) of step index t, stored or derived from the state after it.

    `h` is the row's first state, `slopes` the first row's first slope, `base` the row's offset in it.
    """
    if slopes is not None:
        return tl.load(slopes + (base + t * size) + at, mask=own, other=0.0)
    else:
        return slope_from_output(tl.load(h + (t + 1) * size + at, mask=own, other=0.0), ACT)


@triton.jit
def taken(x, leak, row):
    """leak x: the share that goes through f."""
    if leak is not None:
        return tl.load(leak + row) * x
    else:
        return x


@triton.jit
def passed(x, leak, row):
    """(1 - leak) x: the share that goes past f; 0 without a leak."""
    if leak is not None:
        return (1.0 - tl.load(leak + row)) * x
    else:
        return tl.zeros_like(x)
