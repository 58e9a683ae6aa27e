"""The linear read-out of the last step with its loss and all its gradients, in one pass; see `core.gpu.read_outs`.

Shapes: P rows · B mini-batch · H units · O outputs.

Numerics:
    Every entry of a product is summed in the order of its inner index with fused multiply-adds, as by `matmul` of the
    engine ``cpu``. Costs are those of `core.losses` up to rounding: exponentials and logarithms are the C library's.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numba.core import types
from torch import Tensor

from rnnsweep.core.cpu.numbers import at, intrinsic, number, zero_of
from rnnsweep.core.host_graph import launch
from rnnsweep.core.kernels import LastStep
from rnnsweep.core.losses import FUSED, Loss
from rnnsweep.core.recurrence.cpu.compiling import kernel, part
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses

_MOST = 1 << 12
"""Entries of the largest matrix: beyond that it pays to pack matrices, as engines do."""
_CODES = {name: code for code, name in enumerate(sorted(set(FUSED.values())))}
_CLASSES, _BINARY, _HALF = _CODES["classes"], _CODES["binary"], _CODES["half_squared"]


@intrinsic
def _fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """x y + z, rounded once."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.fma(*arguments)

    return types.unliteral(x)(x, y, z), generate


class ReadOutJob(NamedTuple):
    """Arguments of `read_out_kernel`; `*_row`: entries from one row of the pack to the next, `h_line` of the batch.

    Read are h [B, H], w [H, O], bias [O] or 0, targets (classes [B], int64, or values [B, O]); written are loss,
    y and dy [B, O], dh [B, H], dw [H, O], dbias [O] or 0.
    """

    loss_code: int
    B: int
    H: int
    O: int  # noqa: E741
    h: int
    h_row: int
    h_line: int
    w: int
    w_row: int
    bias: int
    bias_row: int
    targets: int
    loss: int
    y: int
    dy: int
    dh: int
    dw: int
    dbias: int


@part
def _outputs(job, p, sums, zero):
    """y = h w + bias, into sums [B, O]."""
    h, w, bias, (B, O) = at(job.h, zero), at(job.w, zero), at(job.bias, zero), sums.shape  # noqa: E741
    sums[:] = zero
    # the inner index outermost: all sums go on at once, none waits for itself
    for k in range(job.H):
        for b in range(B):
            x = h[p * job.h_row + b * job.h_line + k]
            for o in range(O):
                sums[b, o] = _fma(x, w[p * job.w_row + k * O + o], sums[b, o])
    if job.bias:
        for b in range(B):
            for o in range(O):
                sums[b, o] += bias[p * job.bias_row + o]


@part
def _of_class(y, wanted, slope, zero):
    """Softmax cross-entropy of outputs y [O], its derivative into `slope`; a non-finite output gives such a cost."""
    most, total, cost = y[0], zero, zero
    for o in range(len(y)):
        most = max(most, y[o])
    for o in range(len(y)):
        total += math.exp(y[o] - most)
    size = math.log(total)
    for o in range(len(y)):
        log_p = y[o] - most - size
        slope[o] = math.exp(log_p)
        if o == wanted:
            slope[o] -= number(1, zero)
            cost = -log_p
    return cost


@part
def _of_value(code, y, wanted, zero):
    """(Cost, derivative) of one output of a loss whose targets are as many as outputs."""
    one, two = number(1, zero), number(2, zero)
    if code == _BINARY:
        away = math.exp(-abs(y))
        # selected, as NaN would be left out of a maximum
        cost = (zero if y < 0 else y) - y * wanted + math.log1p(away)
        return cost, (away / (one + away) if y < 0 else one / (one + away)) - wanted
    error = y - wanted
    return (error * error / two, error) if code == _HALF else (error * error, two * error)


@part
def _score(job, p, y, slopes, zero):
    """The mean cost of outputs y [B, O], and its derivative into `slopes`."""
    (B, O), loss = y.shape, zero  # noqa: E741
    classes, values, share = at(job.targets, np.int64(0)), at(job.targets, zero), number(1, zero) / number(job.B, zero)
    for b in range(B):
        cost = zero
        if job.loss_code == _CLASSES:
            cost = _of_class(y[b], classes[p * B + b], slopes[b], zero)
        else:
            for o in range(O):
                each, slopes[b, o] = _of_value(job.loss_code, y[b, o], values[(p * B + b) * O + o], zero)
                cost += each
        loss += cost * share
        for o in range(O):
            slopes[b, o] *= share
    return loss


@part
def _turn(source, begin, turned):
    """A matrix [H, O] as [O, H], so that vectors go along the units."""
    O, H = turned.shape  # noqa: E741
    for k in range(H):
        for o in range(O):
            turned[o, k] = source[begin + k * O + o]


@part
def _turn_back(turned, target, begin):
    O, H = turned.shape  # noqa: E741
    for k in range(H):
        for o in range(O):
            target[begin + k * O + o] = turned[o, k]


@part
def _add_scaled(sums, x, begin, factor):
    """Adds as many numbers of x, from `begin` on, times a factor."""
    for k in range(sums.shape[0]):
        sums[k] = _fma(x[begin + k], factor, sums[k])


@part
def _gradients(job, p, slopes, turned, sums, back, zero):  # noqa: PLR0913
    """dh = dy w^T, dw = h^T dy, dbias = sum of dy."""
    B, H, O, h = job.B, job.H, job.O, at(job.h, zero)  # noqa: E741
    dh, dbias = at(job.dh, zero), at(job.dbias, zero)
    _turn(at(job.w, zero), p * job.w_row, turned)
    sums[:] = zero
    for b in range(B):
        back[:] = zero
        for o in range(O):
            _add_scaled(back, turned[o], 0, slopes[b, o])
            _add_scaled(sums[o], h, p * job.h_row + b * job.h_line, slopes[b, o])
        for k in range(H):
            dh[(p * B + b) * H + k] = back[k]
    _turn_back(sums, at(job.dw, zero), p * H * O)
    if job.dbias:
        for o in range(O):
            total = zero
            for b in range(B):
                total += slopes[b, o]
            dbias[p * O + o] = total


@kernel
def read_out_kernel(zero, job, P):
    """All of it, row by row."""
    B, H, O, out = job.B, job.H, job.O, at(job.y, zero)  # noqa: E741
    loss, dy = at(job.loss, zero), at(job.dy, zero)
    y, slopes, back = np.full((B, O), zero), np.full((B, O), zero), np.full(H, zero)
    turned, sums = np.full((O, H), zero), np.full((O, H), zero)
    for p in range(P):
        _outputs(job, p, y, zero)
        loss[p] = _score(job, p, y, slopes, zero)
        for b in range(B):
            for o in range(O):
                out[(p * B + b) * O + o], dy[(p * B + b) * O + o] = y[b, o], slopes[b, o]
        _gradients(job, p, slopes, turned, sums, back, zero)


def takes(loss: Loss, B: int, H: int, O: int, size: int) -> bool:  # noqa: E741
    """Whether the kernel knows the loss, and matrices are small; of whatever size an entry is."""
    del size
    return type(loss) in FUSED and H * max(B, O) <= _MOST


def scores(loss: Loss, O: int) -> bool:  # noqa: E741
    """No: of every step, torch's passes and the engine's products take far less than the loops."""
    del loss, O
    return False


def read_last(
    loss: Loss,
    h: Float[Tensor, "P B H"],
    w_out: Float[Tensor, "P H O"],
    b_out: Float[Tensor, "P O"] | None,
    targets: Shaped[Tensor, "P B ..."],
) -> LastStep:
    """Outputs, loss and gradients of a mini-batch whose sequences count alike."""
    (P, B, H), O, at, new = h.shape, w_out.shape[-1], TensorAddresses(h.dtype), h.new_empty  # noqa: E741
    # states are views of lines that are padded to whole vectors
    h, code = h if h.stride(2) == 1 else h.contiguous(), _CODES[FUSED[type(loss)]]
    found = LastStep(
        new(P, B, O), new(P), new(P, B, O), new(P, B, H), new(P, H, O), None if b_out is None else new(P, O)
    )
    w, w_row = at.matrices("w_out", w_out, (P, H, O))
    bias, bias_row = (0, 0) if b_out is None else at.matrices("b_out", b_out[:, None], (P, 1, O))
    wanted = (
        at.read("targets", targets, (P, B), torch.int64)
        if code == _CLASSES
        else at.read("targets", targets.to(h.dtype), (P, B, O))
    )
    job = ReadOutJob(
        code, B, H, O, at.view("h", h, (P, B, H)), h.stride(0), h.stride(1), w, w_row, bias, bias_row, wanted,
        at.view("loss", found.loss, (P,)), at.view("outputs", found.outputs, (P, B, O)),
        at.view("errors", found.errors, (P, B, O)), at.view("dh", found.h, (P, B, H)),
        at.view("dw", found.w_out, (P, H, O)), at.view("dbias", found.b_out, (P, O)),
    )  # fmt: skip
    launch(read_out_kernel, zero_of(h.dtype), job, P)
    return found
