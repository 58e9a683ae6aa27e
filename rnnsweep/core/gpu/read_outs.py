"""Linear read-outs with their loss: of the last step with all gradients in one launch, of every step in one pass.

Shapes: P rows · B mini-batch · H units · O outputs · M read-outs of a row, B or T B.
"""

# pyright: reportGeneralTypeIssues=false, reportUndefinedVariable=false
# Triton's ranges and inlined functions are no Python to a type checker.

from __future__ import annotations

import triton
import triton.language as tl
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.gpu.launching import launch, power_of_two, ratio
from rnnsweep.core.kernels import LastStep
from rnnsweep.core.losses import FUSED, Loss

_MOST = 1 << 14
"""Bytes of the largest matrix that a program holds: beyond it products are cut better by others."""
_SCORED = 1 << 12
"""Bytes of the outputs that a program scores together: eight numbers of float32 for each thread."""
_WIDEST = 1024
"""Outputs that a program of `score_kernel` can hold."""
SCORE_WARPS = 4


@triton.jit
def _of_classes(y, targets, b, o, at, B, O):  # noqa: E741, PLR0913
    """Softmax cross-entropy: cost of each sequence, and its derivative; a non-finite output gives a non-finite cost."""
    wanted = tl.load(targets + at + b, mask=b < B, other=0)
    y = tl.where((o < O)[None, :], y, float("-inf"))
    shifted = y - tl.max(y, 1)[:, None]
    log_p = shifted - tl.log(tl.sum(tl.exp(shifted), 1))[:, None]
    hot = o[None, :] == wanted[:, None]
    return 0 - tl.sum(tl.where(hot, log_p, 0), 1), tl.exp(log_p) - hot.to(y.dtype)


@triton.jit
def _of_values(y, targets, b, o, at, B, O, LOSS: tl.constexpr):  # noqa: E741, PLR0913
    """Losses whose targets are as many as outputs."""
    own = (b < B)[:, None] & (o < O)[None, :]
    wanted = tl.load(targets + at * O + b[:, None] * O + o[None, :], mask=own, other=0)
    if LOSS == "binary":
        away = tl.exp(0 - tl.abs(y))
        each = tl.maximum(y, 0) - y * wanted + tl.log(1 + away)
        # NaN would be left out of the maximum
        each = tl.where(y == y, each, y)
        one = tl.full(y.shape, 1, y.dtype)
        slope = tl.where(y < 0, ratio(away, one + away), ratio(one, one + away)) - wanted
    else:
        slope = y - wanted
        each = slope * slope
        if LOSS == "squared":
            slope = 2 * slope
        else:
            each = each / 2
    return tl.sum(tl.where(own, each, 0), 1), slope


@triton.jit(do_not_specialize=["B"])
def read_out_kernel(  # noqa: PLR0913
    h, w, bias, targets, loss, outputs, errors, dh, dw, dbias, h_row, w_row, bias_row, B,
    H: tl.constexpr, O: tl.constexpr, LOSS: tl.constexpr,  # noqa: E741
    BATCH: tl.constexpr, UNITS: tl.constexpr, OUTPUTS: tl.constexpr,
):  # fmt: skip
    """Writes loss [P], outputs and errors [P, B, O], and gradients [P, B, H], [P, H, O], [P, O].

    `h`, `w` and `bias` are views of larger memory: rows begin at multiples of the given steps.
    """
    p = tl.program_id(0).to(tl.int64)
    b, n, o = tl.arange(0, BATCH), tl.arange(0, UNITS), tl.arange(0, OUTPUTS)
    of_h, of_y = (b < B)[:, None] & (n < H)[None, :], (b < B)[:, None] & (o < O)[None, :]
    of_w = (n < H)[:, None] & (o < O)[None, :]
    states = tl.load(h + p * h_row + b[:, None] * H + n[None, :], mask=of_h, other=0)
    matrix = tl.load(w + p * w_row + n[:, None] * O + o[None, :], mask=of_w, other=0)
    y = tl.dot(states, matrix, input_precision="ieee", out_dtype=states.dtype)
    if bias is not None:
        y += tl.load(bias + p * bias_row + o, mask=o < O, other=0)[None, :]
    if LOSS == "classes":
        cost, slope = _of_classes(y, targets, b, o, p * B, B, O)
    else:
        cost, slope = _of_values(y, targets, b, o, p * B, B, O, LOSS)
    share = ratio(tl.full((), 1, y.dtype), B.to(y.dtype))
    tl.store(loss + p, tl.sum(tl.where(b < B, cost * share, 0), 0))
    at = p * B * O + b[:, None] * O + o[None, :]
    dy = tl.where(of_y, slope * share, 0)
    tl.store(outputs + at, y, mask=of_y)
    tl.store(errors + at, dy, mask=of_y)
    back = tl.dot(dy, tl.trans(matrix), input_precision="ieee", out_dtype=y.dtype)
    tl.store(dh + p * B * H + b[:, None] * H + n[None, :], back, mask=of_h)
    onto = tl.dot(tl.trans(states), dy, input_precision="ieee", out_dtype=y.dtype)
    tl.store(dw + p * H * O + n[:, None] * O + o[None, :], onto, mask=of_w)
    if bias is not None:
        tl.store(dbias + p * O + o, tl.sum(dy, 0), mask=o < O)


@triton.jit(do_not_specialize=["M"])
def score_kernel(  # noqa: PLR0913
    y, bias, targets, weight, costs, errors, bias_row, M,
    O: tl.constexpr, LOSS: tl.constexpr, TOGETHER: tl.constexpr, OUTPUTS: tl.constexpr,  # noqa: E741
):  # fmt: skip
    """Adds the bias to `y` [P, M, O] in place; writes errors [P, M, O], and `costs` [P, tiles]: sums by weight."""
    p, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    m, o = tile * TOGETHER + tl.arange(0, TOGETHER), tl.arange(0, OUTPUTS)
    own = (m < M)[:, None] & (o < O)[None, :]
    at = (p * M + m[:, None]) * O + o[None, :]
    x = tl.load(y + at, mask=own, other=0)
    if bias is not None:
        x += tl.load(bias + p * bias_row + o, mask=o < O, other=0)[None, :]
        tl.store(y + at, x, mask=own)
    if LOSS == "classes":
        cost, slope = _of_classes(x, targets, m, o, p * M, M, O)
    else:
        cost, slope = _of_values(x, targets, m, o, p * M, M, O, LOSS)
    share = tl.load(weight + p * M + m, mask=m < M, other=0)
    tl.store(costs + p * tl.num_programs(1) + tile, tl.sum(tl.where(m < M, cost * share, 0), 0))
    tl.store(errors + at, slope * share[:, None], mask=own)


def sizes_of(B: int, H: int, O: int) -> dict[str, int]:  # noqa: E741
    """Matrices of one program, padded to what products of Triton take."""
    return {name: power_of_two(size, 16) for name, size in (("BATCH", B), ("UNITS", H), ("OUTPUTS", O))}


def takes(loss: Loss, B: int, H: int, O: int, size: int) -> bool:  # noqa: E741
    """Whether the kernel knows the loss, and its matrices of numbers of so many bytes fit."""
    return type(loss) in FUSED and _largest(B, H, O) * size <= _MOST


def scores(loss: Loss, O: int) -> bool:  # noqa: E741
    """Whether `score` knows the loss, and takes so many outputs."""
    return type(loss) in FUSED and O <= _WIDEST


def score_sizes(O: int, size: int) -> dict[str, int]:  # noqa: E741
    """Read-outs that a program scores together, and outputs with padding; for numbers of so many bytes."""
    outputs = power_of_two(O)
    return {"TOGETHER": max(1, _SCORED // size // outputs), "OUTPUTS": outputs}


def score(
    loss: Loss,
    y: Float[Tensor, "P M O"],
    bias: Float[Tensor, "P O"] | None,
    targets: Shaped[Tensor, "P M ..."],
    weight: Float[Tensor, "P M"],
) -> tuple[Float[Tensor, "P M O"], Float[Tensor, " P"], Float[Tensor, "P M O"]]:
    """(Outputs, loss, errors) of products `y`, which may be overwritten, plus the bias; read-outs count by weight.

    Numerics:
        A row's loss is summed tile by tile, in tiles that depend on O alone.
    """
    P, M, O = y.shape  # noqa: E741
    y, sizes = y.contiguous(), score_sizes(O, y.element_size())
    tiles = -(-M // sizes["TOGETHER"])
    errors, costs = y.new_empty(P, M, O), y.new_empty(P, tiles)
    bias = None if bias is None else _rows(bias)
    arguments = (
        y, bias, targets.contiguous(), weight.contiguous(), costs, errors, 0 if bias is None else bias.stride(0), M
    )  # fmt: skip
    launch(score_kernel, (P, tiles), arguments, warps=SCORE_WARPS, O=O, LOSS=FUSED[type(loss)], **sizes)
    return y, costs.sum(1), errors


def warps_of(B: int, H: int, O: int, size: int) -> int:  # noqa: E741
    """Of a program for these sizes."""
    return 8 if _largest(B, H, O) * size > _MOST // 2 else 4


def _largest(B: int, H: int, O: int) -> int:  # noqa: E741
    sizes = sizes_of(B, H, O)
    return sizes["UNITS"] * max(sizes["BATCH"], sizes["OUTPUTS"])


def read_last(
    loss: Loss,
    h: Float[Tensor, "P B H"],
    w_out: Float[Tensor, "P H O"],
    b_out: Float[Tensor, "P O"] | None,
    targets: Shaped[Tensor, "P B ..."],
) -> LastStep:
    """Outputs, loss and gradients of a mini-batch whose sequences count alike."""
    (P, B, H), O = h.shape, w_out.shape[-1]  # noqa: E741
    h, w_out = _rows(h), _rows(w_out)
    outputs, errors, cost = h.new_empty(P, B, O), h.new_empty(P, B, O), h.new_empty(P)
    dh, dw, db = h.new_empty(P, B, H), h.new_empty(P, H, O), None if b_out is None else h.new_empty(P, O)
    bias = None if b_out is None else _rows(b_out)
    steps = h.stride(0), w_out.stride(0), 0 if bias is None else bias.stride(0)
    arguments = (h, w_out, bias, targets.contiguous(), cost, outputs, errors, dh, dw, db, *steps, B)
    sizes, warps = {"H": H, "O": O, **sizes_of(B, H, O)}, warps_of(B, H, O, h.element_size())
    launch(read_out_kernel, (P,), arguments, warps=warps, LOSS=FUSED[type(loss)], **sizes)
    return LastStep(outputs, cost, errors, dh, dw, db)


def _rows(x: Tensor) -> Tensor:
    """A tensor each of whose rows lies without gaps, wherever rows begin."""
    return x if x[0].is_contiguous() else x.contiguous()
