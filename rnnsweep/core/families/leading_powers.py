"""Leading eigenvalues of a pack's matrices by repeated squaring.

On a device LAPACK would ask the host, and on a CPU it takes twice as long for the sizes that loops have.

T^m, m = 2^k, is the sum of lambda_i^m P_i over the eigenvalues, P_i = x_i y_i^T with right and left eigenvectors,
y_i^T x_i = 1. After enough squarings what is not leading has vanished, so that two traces and one product give the
projector S onto the leading eigenvector, or onto the plane of a leading complex pair, and T S gives the eigenvalue:

    one real leader:   M = T^m, S = M / tr M,                          lambda = tr(T S)
    a complex pair:    S = (t M - M^2) / d, t = tr M, d = (t^2 - tr M^2) / 2, by Cayley and Hamilton in the plane;
                       2 Re lambda = tr(T S), |lambda|^2 = (tr(T S)^2 - tr(T^2 S)) / 2

Nothing is read, and as many squarings are done whatever the matrix: a relative distance of 1e-9 between two moduli
has become a factor of e^17 after 2^34. What is left of the others at a power chosen by the tolerance is the measure of
a tie.

Shapes: P rows · n size of a matrix.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.cpu.engine.leading_powers import leading_powers
from rnnsweep.core.recurrence.cpu.engine.skew_inverses import skew_inverses
from rnnsweep.core.recurrence.gpu import available

_VANISHED = 18.0
"""The power m is about this over the tolerance: e^-18 is what is left there of an eigenvalue at that distance."""
_MORE = 8
"""Squarings after that. What could be told apart has vanished to all digits then, and |T^m|^(1/m) is rho as nearly."""
_REAL = 1e-6
"""d / t^2 below which the leader is one real eigenvalue; it is 1/4 at least for two of equal size.

Far above rounding, which is the type's times the square of the eigenvalue's condition number.
"""
_PLANE = 1e-7
"""Least |Im lambda| / rho of a pair: below, rounding of its trace and determinant cannot tell it from a double one."""


SQUARED = 128
"""Largest size for which a CPU squares: 2.3 times as fast as LAPACK at 40 units, 1.8 times at 128, 1.4 times at 200."""


class Leaders(NamedTuple):
    """Spectral radius, its derivative, and which leaders are tied; see `spectral.Leading`."""

    rho: Float64[Tensor, " P"]
    slope: Float64[Tensor, "P n n"]
    tied: Bool[Tensor, " P"]


class _Simple(NamedTuple):
    """A simple leader: modulus, derivative, projector, and whether there is one."""

    rho: Tensor
    slope: Tensor
    projector: Tensor
    found: Tensor


def leaders_by_squaring(matrices: Float[Tensor, "P n n"], tie: float) -> Leaders:
    """Leading eigenvalues of every matrix; `tie` is the relative distance below which two count as tied.

    Numerics:
        In float64, scaled by exact powers of two. rho and slope to some roundings times the eigenvalue's condition
        number, as LAPACK's; a tied rho by Gelfand's formula, to log(n) / 2^(k + 8): 1e-8 for float32, 1e-12 for
        float64. Tied are also pairs within 1e-7 of the real axis, where LAPACK's have lost half of their digits, and
        leaders whose condition number is beyond 1e4 or so. Non-finite: NaN, no slope, not tied. Rows stay apart; on a
        GPU the last bits of batched products may depend on the width of a pack.

    References:
        Magnus (1985), derivative of a simple eigenvalue; Gelfand (1941), rho = lim |T^m|^(1/m).
    """
    squarings = _squarings(tie)
    finite = numerics.finite(matrices).flatten(1).all(1)
    t = torch.where(finite[:, None, None], matrices, torch.zeros_like(matrices)).double()
    power = numerics.exponent_of(t.abs().amax((1, 2)))
    t = numerics.scale_by_power(t, -power[:, None, None])
    at_tie, log = _raised(t, torch.zeros_like(t[:, 0, 0]), 0, squarings)
    m, log = _raised(at_tie, log, squarings, squarings + _MORE)
    lead = _simple(t, m, tie)
    rest = at_tie - numerics.matmul(lead.projector, at_tie)
    # As much as would be left of an eigenvalue that is just not tied.
    alone = _size(rest) <= math.exp(-tie * 2.0**squarings) * _size(at_tie)
    simple = lead.found & alone & (lead.rho > 0)
    every = torch.exp2(log + torch.log2(_size(m)) * 2.0 ** -(squarings + _MORE))
    rho = numerics.scale_by_power(torch.where(simple, lead.rho, every), power)
    slope = torch.where((simple & finite)[:, None, None], lead.slope, torch.zeros_like(t))
    return Leaders(torch.where(finite, rho, torch.full_like(rho, torch.nan)), slope, finite & ~simple)


def simple_leaders(matrices: Float[Tensor, "P n n"], tie: float) -> Leaders | None:
    """The same by a CPU's kernel; None where it is not for these, or LAPACK takes less time.

    Numerics:
        Where a leader is not simple, or a row not finite, it counts as tied, and nothing is promised of the rest. Bits
        are each row's own.
    """
    if skew_inverses(matrices) is None or matrices.shape[-1] > SQUARED:
        return None
    squarings = _squarings(tie)
    rho, slope, simple = leading_powers().leaders(
        matrices.double(), (squarings, squarings + _MORE), real=_REAL, turned=max(tie, _PLANE) ** 2,
        left=math.exp(-tie * 2.0**squarings),
    )  # fmt: skip
    return Leaders(rho, slope, ~simple)


def _squarings(tie: float) -> int:
    """As many as make e^-18 of an eigenvalue at that distance."""
    return math.floor(math.log2(_VANISHED / tie))


def _raised(m: Tensor, log: Tensor, done: int, until: int) -> tuple[Tensor, Tensor]:
    kernels = available.map_kernels(m)
    return (raised if kernels is None else kernels.raised)(m, log, done, until)


def raised(
    m: Float64[Tensor, "P n n"], log: Float64[Tensor, " P"], done: int, until: int
) -> tuple[Float64[Tensor, "P n n"], Float64[Tensor, " P"]]:
    """M^(2^(until - done)) up to a power of two, and with `log` the sum of those over the power of T so far.

    Numerics:
        Every second time the largest entry is brought near 1, exactly: two squarings move it by far less than the
        type's range.
    """
    for squaring in range(done + 1, until + 1):
        m = numerics.matmul(m, m)
        if squaring % 2 == 0 or squaring == until:
            largest = m.abs().amax((1, 2))
            fraction, exponent = torch.frexp(largest)
            # Exactly 2^-exponent; a matrix that has vanished (all eigenvalues 0) stays so.
            kept = largest > 1e-300
            scale = torch.where(kept, fraction / largest, torch.ones_like(largest))
            m = m * scale[:, None, None]
            log = log + torch.where(kept, exponent, torch.zeros_like(exponent)) * 2.0**-squaring
    return m, log


def _simple(t: Tensor, m: Tensor, tie: float) -> _Simple:
    """The leader of T, if it is one real eigenvalue or one pair, by M, a high power of it."""
    trace, square = _trace(m), numerics.matmul(m, m)
    d = (trace * trace - _trace(square)) / 2
    real = d.abs() <= _REAL * trace * trace
    one, pair = m / _wide(trace), (_wide(trace) * m - square) / _wide(d)
    s = torch.where(_wide(real), one, pair)
    moved = numerics.matmul(t, s)
    twice = _trace(moved)  # of a pair: 2 Re lambda
    size2 = (twice * twice - (t.transpose(1, 2) * moved).sum((1, 2))) / 2
    turns = (size2 > 0) & (size2 - twice * twice / 4 > max(tie, _PLANE) ** 2 * size2)
    rho = torch.where(real, twice.abs(), size2.clamp(min=0).sqrt())
    # d rho = Re(conj(lambda) y^T dT x) / |lambda|, with S and T S in the place of the pair's vectors.
    of_one, of_pair = s * _wide(twice.sign()), _wide(twice / (2 * rho)) * s - moved / _wide(2 * rho)
    slope = torch.where(_wide(real), of_one, of_pair).transpose(1, 2)
    return _Simple(rho, slope, s, real | turns)


def _trace(x: Tensor) -> Tensor:
    return x.diagonal(dim1=1, dim2=2).sum(1)


def _size(x: Tensor) -> Tensor:
    """Frobenius norm, of entries near 1."""
    return (x * x).sum((1, 2)).sqrt()


def _wide(x: Tensor) -> Tensor:
    return x[:, None, None]
