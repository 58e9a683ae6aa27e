"""Made sequences in few launches: lengths and places, then all that is written at every step.

The numbers are those of `gpu.random_numbers`, drawn where they are used instead of being handed over through memory.

Shapes: P rows · T steps · B mini-batch · m special positions, four at most: words of one block.

Numerics:
    Equal to the bit to what tasks make of their draws by torch's operations, and to the loops of the CPU.
"""

# pyright: reportGeneralTypeIssues=false, reportUndefinedVariable=false
# Triton's ranges and inlined functions are no Python to a type checker.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core.gpu.launching import launch, power_of_two
from rnnsweep.core.gpu.random_numbers import four
from rnnsweep.core.rng import BATCH, SEQUENCE, Draws

MOST_POSITIONS = 4
_TOGETHER = 64
"""Sequences of a program that places."""
_ACROSS, _BLOCKS = 16, 8
"""Sequences of a program that writes, and blocks of four steps."""
WARPS = 4


@triton.jit
def _first_word(keys, ids, stream, sequence, p, some):
    """The first word of a stream, for each sequence: int64."""
    words = four(keys, ids, stream, sequence, p, tl.arange(0, 1), some).to(tl.int64)
    return tl.sum(tl.where(tl.arange(0, 4)[None, :] == 0, words, 0), 1)


@triton.jit(do_not_specialize=["of_length", "of_more", "of_place", "low", "span", "longest", "sequences", "B"])
def place_kernel(  # noqa: PLR0913
    keys, ids, batch_ids, table, lengths, positions,
    of_length, of_more, of_place, low, span, longest, sequences, B,
    M: tl.constexpr, PROLONGED: tl.constexpr, SEQUENCES: tl.constexpr,
):  # fmt: skip
    """Writes `lengths` [P] and `positions` [P, B, M], from streams of these numbers.

    `table` [longest + 1, M, 2]: first position and number of positions, by length.
    """
    sequence = tl.program_id(0).to(tl.int64) * SEQUENCES + tl.arange(0, SEQUENCES)
    some = sequence < sequences
    p = sequence // B
    length = low + (_first_word(keys, batch_ids, of_length, p, p, some) * span >> 32)
    if PROLONGED:
        length += _first_word(keys, batch_ids, of_more, p, p, some) * (length // 10) >> 32
    length = tl.where(some, length, low)
    tl.store(lengths + p, length, mask=some & (sequence % B == 0))
    words = four(keys, ids, of_place, sequence, p, tl.arange(0, 1), some).to(tl.int64)  # sequences 4
    i = tl.arange(0, 4)[None, :]
    own, at = some[:, None] & (i < M), (length[:, None] * M + i) * 2
    first, count = tl.load(table + at, mask=own, other=0), tl.load(table + at + 1, mask=own, other=0)
    place = (longest - length)[:, None] + first + (words * count >> 32)
    tl.store(positions + sequence[:, None] * M + i, place, mask=own)


@triton.jit
def _tile(lengths, T, B, SEQUENCES: tl.constexpr, BLOCKS: tl.constexpr):
    """Of a program that writes: row, its sequences and which there are, first block, steps, which of them count."""
    tiles = tl.cdiv(B, SEQUENCES)
    p = (tl.program_id(0) // tiles).to(tl.int64)
    b = (tl.program_id(0) % tiles) * SEQUENCES + tl.arange(0, SEQUENCES)
    first = tl.program_id(1) * BLOCKS
    t = first * 4 + tl.arange(0, 4 * BLOCKS)
    return p, b, first, t, t >= T - tl.load(lengths + p)


@triton.jit
def _put(inputs, value, p, b, t, k, T, B, I: tl.constexpr):  # noqa: E741, PLR0913
    """Writes [sequences, steps, padded I] into inputs [P, T, B, I]."""
    at = ((p * T + t[None, :, None]) * B + b[:, None, None]) * I + k[None, None, :]
    own = (b < B)[:, None, None] & (t < T)[None, :, None] & (k < I)[None, None, :]
    tl.store(inputs + at, value.to(inputs.dtype.element_ty), mask=own)


@triton.jit(do_not_specialize=["of_symbol", "of_filling", "T", "B"])
def order_kernel(  # noqa: PLR0913
    keys, ids, lengths, positions, inputs, classes, of_symbol, of_filling, T, B,
    M: tl.constexpr, KINDS: tl.constexpr, SHIFT: tl.constexpr, WIDTH: tl.constexpr, TOKENS: tl.constexpr,
    SEQUENCES: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Writes one-hot `inputs` [P, T, B, 2 + KINDS], or codes [P, T, B], and `classes` [P, B] of temporal order.

    Symbols 0 and 1 at the positions, one of KINDS = 2**(32 - SHIFT) others elsewhere; -1 or zeros before the start.
    """
    p, b, first, t, own = _tile(lengths, T, B, SEQUENCES, BLOCKS)
    sequence, some = p * B + b, b < B
    row = sequence * 0 + p
    words = four(keys, ids, of_filling, sequence, row, first + tl.arange(0, BLOCKS), some)
    code = 2 + (words >> SHIFT).to(tl.int64)
    bits = (four(keys, ids, of_symbol, sequence, row, tl.arange(0, 1), some) >> 31).to(tl.int64)
    total = sequence * 0
    for i in tl.static_range(M):
        bit = tl.sum(tl.where(tl.arange(0, 4)[None, :] == i, bits, 0), 1)
        total += bit << i
        place = tl.load(positions + sequence * M + i, mask=some, other=0)
        code = tl.where(t[None, :] == place[:, None], bit[:, None], code)
    tl.store(classes + sequence, total, mask=some & (first == 0))
    code = tl.where(own[None, :], code, -1)
    if TOKENS:
        at = (p * T + t[None, :]) * B + b[:, None]
        tl.store(inputs + at, code, mask=some[:, None] & (t < T)[None, :])
    else:
        k = tl.arange(0, WIDTH)
        _put(inputs, code[:, :, None] == k[None, None, :], p, b, t, k, T, B, 2 + KINDS)


@triton.jit(do_not_specialize=["of_filling", "T", "B"])
def marked_kernel(  # noqa: PLR0913
    keys, ids, lengths, positions, inputs, marked, of_filling, T, B,
    M: tl.constexpr, SIGNED: tl.constexpr, SEQUENCES: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Writes `inputs` [P, T, B, 2], marker and value, and the `marked` values [P, B, M]."""
    p, b, first, t, own = _tile(lengths, T, B, SEQUENCES, BLOCKS)
    sequence, some = p * B + b, b < B
    words = four(keys, ids, of_filling, sequence, sequence * 0 + p, first + tl.arange(0, BLOCKS), some)
    # 24 bits: exact in both types
    value = (words >> 8).to(tl.int32).to(inputs.dtype.element_ty) * 5.9604644775390625e-08
    if SIGNED:
        value = 2 * value - 1
    marker = tl.zeros_like(value)
    for i in tl.static_range(M):
        place = tl.load(positions + sequence * M + i, mask=some, other=0)
        here = t[None, :] == place[:, None]
        marker = tl.where(here, 1, marker)
        inside = (place >= first * 4) & (place < first * 4 + 4 * BLOCKS)
        tl.store(marked + sequence * M + i, tl.sum(tl.where(here, value, 0), 1), mask=some & inside)
    value = tl.where(own[None, :], value, 0)
    k = tl.arange(0, 2)
    _put(inputs, tl.where(k[None, None, :] == 0, marker[:, :, None], value[:, :, None]), p, b, t, k, T, B, 2)


def place(
    draws: Draws, table: Int64[Tensor, "T1 m 2"], lengths: tuple[int, int], streams: tuple[int, int, int], *,
    prolonged: bool,
) -> tuple[Int64[Tensor, " P"], Int64[Tensor, "P B m"]]:  # fmt: skip
    """Lengths of rows, and special positions of their sequences.

    Args:
        draws: of the mini-batch.
        table: first position and number of positions of each symbol, by length from 0 to the longest.
        lengths: smallest and largest that is drawn. prolonged: by U{0..length // 10 - 1} then.
        streams: of lengths, of what they are prolonged by, of positions.
    """
    (P, B), m, device = draws.ids.shape, table.shape[1], draws.device
    drawn = torch.empty(P, dtype=torch.int64, device=device)
    positions = torch.empty(P, B, m, dtype=torch.int64, device=device)
    of_length, of_more, of_place = streams
    arguments = (
        draws.keys.contiguous(), draws.ids.contiguous(), draws.batch_ids.contiguous(), table, drawn, positions,
        of_length | BATCH, of_more | BATCH, of_place | SEQUENCE,
        lengths[0], lengths[1] - lengths[0] + 1, table.shape[0] - 1, P * B, B,
    )  # fmt: skip
    grid = (-(-P * B // _TOGETHER),)
    launch(place_kernel, grid, arguments, warps=WARPS, M=m, PROLONGED=prolonged, SEQUENCES=_TOGETHER)
    return drawn, positions


def order(
    draws: Draws, lengths: Int64[Tensor, " P"], positions: Int64[Tensor, "P B m"], T: int, streams: tuple[int, int]
) -> tuple[Shaped[Tensor, "P T B ..."], Int64[Tensor, "P B"]]:
    """Inputs and classes of temporal order; streams of symbols and of what stands between them."""
    (P, B), m, distractors = draws.ids.shape, positions.shape[2], 4
    shape, dtype = ((P, T, B), torch.int64) if draws.tokens else ((P, T, B, 2 + distractors), draws.dtype)
    inputs = torch.empty(shape, dtype=dtype, device=draws.device)
    classes = torch.empty(P, B, dtype=torch.int64, device=draws.device)
    arguments = (draws.keys.contiguous(), draws.ids.contiguous(), lengths, positions, inputs, classes, *streams, T, B)
    sizes = {"M": m, "KINDS": distractors, "SHIFT": 30, "WIDTH": power_of_two(2 + distractors)}
    launch(order_kernel, _grid(P, T, B), arguments, warps=WARPS, **sizes, TOKENS=draws.tokens, **_CUT)
    return inputs, classes


def marked(
    draws: Draws, lengths: Int64[Tensor, " P"], positions: Int64[Tensor, "P B m"], T: int, stream: int, *, signed: bool
) -> tuple[Float[Tensor, "P T B 2"], Float[Tensor, "P B m"]]:
    """Inputs of marked values, and the values that are marked; `signed`: they are in [-1, 1)."""
    (P, B), m = draws.ids.shape, positions.shape[2]
    inputs = torch.empty(P, T, B, 2, dtype=draws.dtype, device=draws.device)
    values = torch.empty(P, B, m, dtype=draws.dtype, device=draws.device)
    arguments = (draws.keys.contiguous(), draws.ids.contiguous(), lengths, positions, inputs, values, stream, T, B)
    launch(marked_kernel, _grid(P, T, B), arguments, warps=WARPS, M=m, SIGNED=signed, **_CUT)
    return inputs, values


_CUT = {"SEQUENCES": _ACROSS, "BLOCKS": _BLOCKS}


def _grid(P: int, T: int, B: int) -> tuple[int, int]:
    return P * -(-B // _ACROSS), -(-T // (4 * _BLOCKS))
