"""The streams of `core.rng` on a GPU: one launch makes all words of a call and maps them to their range.

By torch's operations a call is some 170 launches (ten rounds of int64 arithmetic), and calls are most launches of an
update. Triton is imported here alone: `core.rng` loads this module where tensors are on such a device.

Shapes: P rows · B mini-batch · n numbers per sequence.

Numerics:
    Equal to `rng.words_compiled` to the bit. The rounds use 32-bit words, only the map to a range uses 64 bits. Nothing
    is read by the host: bounds that are tensors are read by the kernel.

References:
    As `core.rng`; the rounds themselves are Triton's `philox_impl`, whose constants are Random123's.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

_TILE = 256
"""Blocks of four words per program: two per thread of four warps."""
_MOST_ACROSS = 64
WARPS = 4


@triton.jit
def _bound(values, number, p, b, n, row_step, item_step, place_step, own):  # noqa: PLR0913
    """A bound of the range as int64: a tensor's, read with its steps, or one number for all."""
    if values is not None:
        return tl.load(values + p * row_step + b * item_step + n * place_step, mask=own, other=0)
    else:
        return number.to(tl.int64)


@triton.jit
def four(keys, ids, stream, sequence, p, block, some):  # noqa: PLR0913
    """Four words of every block, side by side: uint32 [sequences, 4 blocks]."""
    key = tl.load(keys + p, mask=some, other=0).to(tl.uint64, bitcast=True)[:, None]
    identifier = tl.load(ids + sequence, mask=some, other=0).to(tl.uint64, bitcast=True)[:, None]
    # every counter in full size: the rounds mix all of them
    c2 = tl.zeros((sequence.shape[0], block.shape[0]), tl.uint32)
    c0, c1 = c2 + identifier.to(tl.uint32), c2 + (identifier >> 32).to(tl.uint32)
    c3 = c2 + block[None, :].to(tl.uint32)
    c2 += stream.to(tl.uint32)
    k0, k1 = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox_impl(c0, c1, c2, c3, k0, k1)  # ten rounds
    return tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))


@triton.jit(do_not_specialize=["stream", "sequences", "B", "n", "low_number", "high_number"])
def philox_kernel(  # noqa: PLR0913
    keys, ids, out, low, high, stream, low_number, high_number,
    low_row, low_item, low_place, high_row, high_item, high_place, sequences, B, n,
    MAP: tl.constexpr, SEQUENCES: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Writes `out` [P, B, n]; program (tile of sequences, tile of blocks).

    MAP: ``words`` (int64), ``integers`` (int64, U{low..high}) or ``uniforms`` (`out`'s type). `low` and `high` are
    tensors that are read with the given steps, or None: then their numbers count.
    """
    sequence = tl.program_id(0).to(tl.int64) * SEQUENCES + tl.arange(0, SEQUENCES)
    first = tl.program_id(1) * BLOCKS
    some = sequence < sequences
    p = sequence // B
    word = four(keys, ids, stream, sequence, p, first + tl.arange(0, BLOCKS), some)
    place = (first * 4 + tl.arange(0, 4 * BLOCKS))[None, :]
    own = some[:, None] & (place < n)
    if MAP == "uniforms":
        # 24 bits: exact in both types
        made = (word >> 8).to(tl.int32).to(out.dtype.element_ty) * 5.9604644775390625e-08
    elif MAP == "integers":
        p, b = p[:, None], (sequence % B)[:, None]
        least = _bound(low, low_number, p, b, place, low_row, low_item, low_place, own)
        most = _bound(high, high_number, p, b, place, high_row, high_item, high_place, own)
        made = least + (word.to(tl.int64) * (most - least + 1) >> 32)
    else:
        made = word.to(tl.int64)
    tl.store(out + sequence[:, None] * n + place, made, mask=own)


def words(keys: Int64[Tensor, " P"], ids: Int64[Tensor, "P B"], stream: int, n: int) -> Int64[Tensor, "P B n"]:
    """As `rng.words_torch`, in one launch."""
    return _launch("words", keys, ids, stream, n)


def integers(
    keys: Int64[Tensor, " P"], ids: Int64[Tensor, "P B"], stream: int, n: int,
    low: int | Int64[Tensor, " *bound"], high: int | Int64[Tensor, " *bound"],
) -> Int64[Tensor, "P B n"]:  # fmt: skip
    """U{low..high}, both included, in one launch; bounds are ints or tensors that broadcast to [P, B, n]."""
    return _launch("integers", keys, ids, stream, n, low=low, high=high)


def uniforms(
    keys: Int64[Tensor, " P"], ids: Int64[Tensor, "P B"], stream: int, n: int, dtype: torch.dtype
) -> Float[Tensor, "P B n"]:
    """U[0, 1) with 24 bits, float32 or float64, in one launch."""
    return _launch("uniforms", keys, ids, stream, n, dtype=dtype)


def tile_of(n: int) -> tuple[int, int]:
    """Sequences and blocks of one program, powers of two; the shorter, the more sequences."""
    blocks = min(int(triton.next_power_of_2(-(-n // 4))), _MOST_ACROSS)
    return _TILE // blocks, blocks


def _launch(  # noqa: PLR0913
    what: str, keys: Tensor, ids: Tensor, stream: int, n: int,
    low: int | Tensor = 0, high: int | Tensor = 0, dtype: torch.dtype = torch.int64,
) -> Shaped[Tensor, "P B n"]:  # fmt: skip
    P, B = ids.shape
    out = torch.empty(P, B, n, dtype=dtype, device=ids.device)
    if out.numel() == 0:
        return out
    least, low_number, low_steps = _as_bound(low, out)
    most, high_number, high_steps = _as_bound(high, out)
    tall, across = tile_of(n)
    # Triton launches on the current device, whatever device the tensors are on.
    where: Any = torch.cuda.device(ids.device) if ids.device.type == "cuda" else nullcontext()
    with where:
        launch: Any = philox_kernel[(triton.cdiv(P * B, tall), triton.cdiv(n, 4 * across))]
        launch(
            keys.contiguous(), ids.contiguous(), out, least, most, stream, low_number, high_number,
            *low_steps, *high_steps, P * B, B, n,
            MAP=what, SEQUENCES=tall, BLOCKS=across, num_warps=WARPS, enable_fp_fusion=True,
        )  # fmt: skip
    return out


def _as_bound(bound: int | Tensor, like: Tensor) -> tuple[Tensor | None, int, tuple[int, int, int]]:
    """A bound as the kernel takes it: tensor or None, number, steps along P, B and n (0: the same for all)."""
    if not isinstance(bound, Tensor):
        return None, int(bound), (0, 0, 0)
    steps = bound.expand(like.shape).stride()
    return bound, 0, (steps[0], steps[1], steps[2])
