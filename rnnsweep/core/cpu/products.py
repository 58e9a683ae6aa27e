"""Products around the loss of the last step: so small that packing matrices for an engine's would take longer.

Shapes: P rows · B mini-batch · H units · O outputs.

Numerics:
    Every entry is summed in the order of its inner index with fused multiply-adds, beginning with 0: the same bits as
    by `matmul` of the engine ``cpu``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numba.core import types
from torch import Tensor

from rnnsweep.core.cpu.numbers import at, intrinsic, zero_of
from rnnsweep.core.recurrence.cpu.compiling import kernel, part
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses

_MOST = 1 << 12
"""Entries of the largest matrix: beyond that it pays to pack."""


@intrinsic
def _fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """x y + z, rounded once."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.fma(*arguments)

    return types.unliteral(x)(x, y, z), generate


class ReadOutJob(NamedTuple):
    """Arguments of both kernels; `*_row`: entries from one row of the pack to the next, `h_line` of the batch.

    h [B, H], w [H, O], bias [O] or 0, dy [B, O] are read; y [B, O], dh [B, H], dw [H, O], dbias [O] or 0 are written.
    """

    B: int
    H: int
    O: int  # noqa: E741
    h: int
    h_row: int
    h_line: int
    w: int
    w_row: int
    bias: int = 0
    bias_row: int = 0
    y: int = 0
    dy: int = 0
    dh: int = 0
    dw: int = 0
    dbias: int = 0


@kernel
def outputs_kernel(zero, job, P):
    """y = h w + bias of each row."""
    H, O, h, w = job.H, job.O, at(job.h, zero), at(job.w, zero)  # noqa: E741
    bias, sums, out = at(job.bias, zero), np.empty((job.B, O), np.array(zero).dtype), at(job.y, zero)
    for p in range(P):
        sums[:] = zero
        # the inner index outermost: all sums go on at once, none waits for itself
        for k in range(H):
            for b in range(job.B):
                x = h[p * job.h_row + b * job.h_line + k]
                for o in range(O):
                    sums[b, o] = _fma(x, w[p * job.w_row + k * O + o], sums[b, o])
        for b in range(job.B):
            for o in range(O):
                y = sums[b, o]
                out[(p * job.B + b) * O + o] = y + bias[p * job.bias_row + o] if job.bias else y


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


@kernel
def gradients_kernel(zero, job, P):
    """dh = dy w^T, dw = h^T dy, dbias = sum of dy, of each row."""
    B, H, O, h, w = job.B, job.H, job.O, at(job.h, zero), at(job.w, zero)  # noqa: E741
    dy, dh, dw, dbias = at(job.dy, zero), at(job.dh, zero), at(job.dw, zero), at(job.dbias, zero)
    turned, sums, back, total = np.full((O, H), zero), np.full((O, H), zero), np.full(H, zero), np.full(O, zero)
    for p in range(P):
        _turn(w, p * job.w_row, turned)
        sums[:], total[:] = zero, zero
        for b in range(B):
            back[:] = zero
            for o in range(O):
                slope = dy[(p * B + b) * O + o]
                total[o] += slope
                _add_scaled(back, turned[o], 0, slope)
                _add_scaled(sums[o], h, p * job.h_row + b * job.h_line, slope)
            for k in range(H):
                dh[(p * B + b) * H + k] = back[k]
        _turn_back(sums, dw, p * H * O)
        for o in range(O if job.dbias else 0):
            dbias[p * O + o] = total[o]


def takes(B: int, H: int, O: int) -> bool:  # noqa: E741
    """Whether matrices of these sizes are small."""
    return H * max(B, O) <= _MOST


def outputs(
    h: Float[Tensor, "P B H"], w: Float[Tensor, "P H O"], bias: Float[Tensor, "P O"] | None
) -> Float[Tensor, "P B O"]:
    """h w, plus the bias where there is one."""
    (P, B, _), O, at = h.shape, w.shape[-1], TensorAddresses(h.dtype)  # noqa: E741
    y = h.new_empty(P, B, O)
    job = _read(at, h, w)._replace(y=at.view("y", y, (P, B, O)))
    if bias is not None:
        address, row = at.matrices("bias", bias[:, None], (P, 1, O))
        job = job._replace(bias=address, bias_row=row)
    outputs_kernel(zero_of(h.dtype), job, P)
    return y


def gradients(
    h: Float[Tensor, "P B H"], w: Float[Tensor, "P H O"], dy: Float[Tensor, "P B O"], *, biased: bool
) -> tuple[Float[Tensor, "P B H"], Float[Tensor, "P H O"], Float[Tensor, "P O"] | None]:
    """Of `outputs`, from the derivative by them: of h, w and the bias."""
    (P, B, H), O, at = h.shape, w.shape[-1], TensorAddresses(h.dtype)  # noqa: E741
    dh, dw, dbias = h.new_empty(P, B, H), h.new_empty(P, H, O), h.new_empty(P, O) if biased else None
    job = _read(at, h, w)._replace(
        dy=at.read("dy", dy, (P, B, O)), dh=at.view("dh", dh, (P, B, H)), dw=at.view("dw", dw, (P, H, O)),
        dbias=at.view("dbias", dbias, (P, O)),
    )  # fmt: skip
    gradients_kernel(zero_of(h.dtype), job, P)
    return dh, dw, dbias


def _read(at: TensorAddresses, h: Tensor, w: Tensor) -> ReadOutJob:
    (P, B, H), O = h.shape, w.shape[-1]  # noqa: E741
    # states are views of lines that are padded to whole vectors
    h = h if h.stride(2) == 1 else h.contiguous()
    matrix, row = at.matrices("w", w, (P, H, O))
    return ReadOutJob(B, H, O, at.view("h", h, (P, B, H)), h.stride(0), h.stride(1), matrix, row)
