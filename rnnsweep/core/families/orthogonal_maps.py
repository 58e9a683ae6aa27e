"""Maps from free parameters to orthogonal matrices, each matrix by itself, with their pull-backs.

A skew matrix is stored as [H, H], of which the strict upper triangle counts: A = U - U^T. So a gradient has one entry
per degree of freedom, and the clipped norm counts each once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics, rng
from rnnsweep.core.host_graph import asked
from rnnsweep.core.recurrence.cpu.engine.skew_inverses import skew_inverses
from rnnsweep.core.recurrence.gpu import available
from rnnsweep.core.remembered import Remembered


def skew(stored: Float[Tensor, "*batch H H"]) -> Float[Tensor, "*batch H H"]:
    """A = U - U^T of the strict upper triangle U of [..., H, H]."""
    upper = stored.triu(1)
    return upper - upper.transpose(-1, -2)


def skew_gradient(gradient: Float[Tensor, "*batch H H"]) -> Float[Tensor, "*batch H H"]:
    """Gradient of what is stored, from dC/dA with all entries of A taken as free: upper triangle of G - G^T."""
    # Each stored entry stands in A twice, with opposite signs.
    return (gradient - gradient.transpose(-1, -2)).triu(1)


def each_row(work: Callable[..., Float[Tensor, " ..."]], *arguments: Float[Tensor, "P ..."]) -> Float[Tensor, "P ..."]:
    """Apply `work` to row after row.

    Numerics:
        Batched solves and eigenvalues round differently for one matrix and for many, and with alignment; so each row
        gets memory of its own and calls of its own.
    """
    rows = range(len(arguments[0]))
    return torch.stack([work(*(a[p].clone(memory_format=torch.contiguous_format) for a in arguments)) for p in rows])


def cayley(stored: Float[Tensor, "P H H"], diagonal: Float[Tensor, "P H"]) -> Float[Tensor, "P H H"]:
    """W = (I + A)^{-1} (I - A) D = (2 (I + A)^{-1} - I) D, [P, H, H]; `diagonal` [P, H].

    Asked again for the same numbers it gives the same tensor, which nobody may write into.

    Numerics:
        I + A is never singular (its eigenvalues are 1 + i w); see `definite_inverse`. Error of W^T W of order 1e-15 in
        float64. Non-finite rows stay alone.

    References:
        Helfrich, Willmott, Ye (2018), eq. 4.
    """
    return _cayley(stored, diagonal)


def cayley_pullback(
    diagonal: Float[Tensor, "P H"], w: Float[Tensor, "P H H"], gradient: Float[Tensor, "P H H"]
) -> Float[Tensor, "P H H"]:
    """dC/d stored = upper triangle of V^T - V, V = (I + A)^{-T} G (D + W^T); Helfrich et al. (2018), theorem 3.2.

    Of W alone: (I + A)^{-1} is K = (W D + I) / 2, and D + W^T is 2 D K^T.
    """
    fused = skew_inverses(diagonal, w, gradient)
    if fused is not None:
        return fused.cayley_pullback(diagonal, w, gradient)
    H = w.shape[1]
    turned = numerics.padded_square(_resolvent(diagonal, w)).transpose(1, 2).contiguous()
    given = numerics.padded_square(gradient * diagonal[:, None, :])
    v = (numerics.matmul(turned, numerics.matmul(given, turned)) * 2)[:, :H, :H]
    return (v.transpose(1, 2) - v).triu(1)


def cayley_step(
    diagonal: Float[Tensor, "P H"], w: Float[Tensor, "P H H"], step: Float[Tensor, "P H H"]
) -> Float[Tensor, "P H H"]:
    """First-order change of W: dW = -(I + A)^{-1} dA (W + D) = -2 K dA K D."""
    k = _resolvent(diagonal, w)
    return numerics.matmul(k, numerics.matmul(skew(step), k)) * (-2 * diagonal[:, None, :])


def _resolvent(diagonal: Tensor, w: Tensor) -> Tensor:
    """(I + A)^{-1} of W and D."""
    doubled = w * diagonal[:, None, :]
    doubled.diagonal(dim1=1, dim2=2).add_(1)
    return doubled / 2


def definite_inverse(x: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
    """x^{-1}, row by row, of x whose symmetric part is positive definite, such as I + A with skew A.

    Numerics:
        On a CPU with loops of ours by elimination without pivoting, which is stable where the diagonal does not grow
        beyond `skew_inverses.LIMITS` on its way: its errors are some roundings of what it grew to, which for I + A is
        1 + |A|^2 at most. Rows where it does, and all rows elsewhere, by `numerics.inverse`. Bits are each row's own.
        On a GPU by kernels of ours too (`gpu.maps`), which see to such rows themselves; in a graph as well.
    """
    fused = skew_inverses(x)
    if fused is None:
        return unfused_inverse(x)
    found, steady = fused.inverse(x)
    return mended(found, steady, numerics.inverse, x)


def unfused_inverse(x: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
    """`definite_inverse` where no loops of ours do it on a CPU."""
    kernels = available.map_kernels(x)
    return numerics.inverse(x, None if kernels is None else kernels.inverse)


@Remembered
def _cayley(stored: Tensor, diagonal: Tensor) -> Tensor:
    fused = skew_inverses(stored, diagonal)
    if fused is None:
        return _composed_cayley(stored, diagonal, unfused_inverse)
    found, steady = fused.cayley(stored, diagonal)
    return mended(found, steady, _pivoted_cayley, stored, diagonal)


def _pivoted_cayley(stored: Tensor, diagonal: Tensor) -> Tensor:
    return _composed_cayley(stored, diagonal, numerics.inverse)


def _composed_cayley(stored: Tensor, diagonal: Tensor, inverse: Callable[[Tensor], Tensor]) -> Tensor:
    eye = torch.eye(stored.shape[1], dtype=stored.dtype, device=stored.device)
    # Scaling columns is a product with D on the right.
    return (2 * inverse(eye + skew(stored)) - eye) * diagonal[:, None, :]


def mended(
    found: Float[Tensor, "P N N"],
    steady: Bool[Tensor, " P"],
    work: Callable[..., Float[Tensor, "p N N"]],
    *arguments: Float[Tensor, "P ..."],
) -> Float[Tensor, "P N N"]:
    """`found` with the rows that are not steady replaced by `work` of theirs."""
    if not asked(lambda: bool(steady.all())):  # no shortcut: there must be rows to mend
        found[~steady] = work(*(x[~steady] for x in arguments))
    return found


def cayley_blocks(
    keys: Int64[Tensor, " P"], name: str, hidden: int, largest: float = math.pi / 2
) -> Float64[Tensor, "P H H"]:
    """Stored skew matrices [P, H, H] whose Cayley map rotates planes by angles t ~ U(0, largest); float64.

    Blocks [[0, s], [-s, 0]] on the diagonal with s = tan(t / 2); a last odd unit stays alone. Beyond pi the plane turns
    the other way round, by 2 pi - t.

    References:
        Helfrich, Willmott, Ye (2018), section 4: s = sqrt((1 - cos t) / (1 + cos t)).
    """
    blocks = torch.zeros(len(keys), hidden, hidden, dtype=torch.float64)
    # One unit spans no plane.
    if hidden < 2:
        return blocks
    angles = rng.uniforms53(keys, hidden // 2, rng.stream_of(name)) * largest
    even = torch.arange(0, hidden - 1, 2)
    blocks[:, even, even + 1] = torch.tan(angles / 2)  # planes (0, 1), (2, 3), ...
    return blocks


def signs(share: Float[Tensor, " P"], hidden: int) -> Float[Tensor, "P H"]:
    """D [P, H]: -1 for the last round(share * H) entries, else 1; the same tensor again for the same numbers."""
    return _signs(share, hidden)


@Remembered
def _signs(share: Tensor, hidden: int) -> Tensor:
    negative = torch.round(share * hidden)
    # Compared, not sliced: each row has its own count.
    index = torch.arange(hidden, dtype=share.dtype, device=share.device)
    ones = torch.ones(len(share), hidden, dtype=share.dtype, device=share.device)
    return torch.where(index[None, :] >= hidden - negative[:, None], -ones, ones)
