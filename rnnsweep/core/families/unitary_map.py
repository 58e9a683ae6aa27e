"""The scaled Cayley map to unitary matrices, in real numbers, with its pull-back and its first-order change.

    W = (I + A)^{-1} (I - A) D = (2 K - I) D,  K = (I + A)^{-1},  A = S + i Y skew-Hermitian, D = diag(e^{i theta})

S is skew (strict upper triangle stored), Y symmetric (upper triangle with the diagonal stored). Vectors are rows,
[Re, Im], so that W acts as the real matrix [[Re W, Im W], [-Im W, Re W]].

Numerics:
    Complex numbers are pairs of real tensors: torch's own complex products may round differently at the ends of
    vectors, where rows of a pack lie elsewhere than a row alone does. I + A is never singular.

References:
    Maduranga, Helfrich, Ye (2019), eq. 4; W[from, to] is applied on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.families.orthogonal_maps import mended, skew, skew_gradient, unfused_inverse
from rnnsweep.core.recurrence.cpu.engine.skew_inverses import skew_inverses
from rnnsweep.core.remembered import Remembered


class UnitaryParameters(NamedTuple):
    """What W is made of, or gradients or steps of it: stored S and Y, [P, H, H], and theta [P, H]."""

    a_skew: Float[Tensor, "P H H"]
    a_symmetric: Float[Tensor, "P H H"]
    theta: Float[Tensor, "P H"]


class _Complex(NamedTuple):
    """Matrices [P, M, N] in two parts."""

    re: Tensor
    im: Tensor

    def real(self) -> Tensor:
        """[[Re, Im], [-Im, Re]], [P, 2M, 2N]."""
        return torch.cat((torch.cat((self.re, self.im), 2), torch.cat((-self.im, self.re), 2)), 1)

    def times(self, other: _Complex) -> _Complex:
        """Matrix product."""
        both = numerics.matmul(torch.cat((self.re, self.im), 2), other.real())
        return _Complex(*both.split(other.re.shape[2], 2))

    def adjoint(self) -> _Complex:
        """Transposed and conjugate."""
        return _Complex(self.re.transpose(1, 2), -self.im.transpose(1, 2))

    def turned(self, cos: Tensor, sin: Tensor) -> _Complex:
        """Column j times cos_j + i sin_j."""
        cos, sin = cos[:, None], sin[:, None]
        return _Complex(self.re * cos - self.im * sin, self.re * sin + self.im * cos)


def unitary(parameters: UnitaryParameters) -> Float[Tensor, "P N N"]:
    """The real form of W, [P, 2H, 2H]; differentiable.

    Asked again for the same numbers it gives the same tensor, which nobody may write into.

    Numerics:
        One inverse of a real form, as in `orthogonal_maps.definite_inverse`. Error of W^T W of order 1e-15 in float64.
        Non-finite rows stay alone.
    """
    return _unitary(*parameters)


@Remembered
def _unitary(a_skew: Tensor, a_symmetric: Tensor, theta: Tensor) -> Tensor:
    fused = skew_inverses(a_skew, a_symmetric, theta)
    if fused is None:
        return _composed(a_skew, a_symmetric, theta, unfused_inverse)
    found, steady = fused.unitary(a_skew, a_symmetric, torch.cos(theta), torch.sin(theta))
    return mended(found, steady, _pivoted, a_skew, a_symmetric, theta)


def _pivoted(a_skew: Tensor, a_symmetric: Tensor, theta: Tensor) -> Tensor:
    return _composed(a_skew, a_symmetric, theta, numerics.inverse)


def _composed(a_skew: Tensor, a_symmetric: Tensor, theta: Tensor, inverse: Callable[[Tensor], Tensor]) -> Tensor:
    eye = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
    # A^H = -A, so that the real form of A is skew.
    k = _complex(inverse(_Complex(eye + skew(a_skew), _symmetric(a_symmetric)).real()))
    return _Complex(2 * k.re - eye, 2 * k.im).turned(torch.cos(theta), torch.sin(theta)).real()


def unitary_pullback(
    parameters: UnitaryParameters, w: Float[Tensor, "P N N"], gradient: Float[Tensor, "P N N"]
) -> UnitaryParameters:
    """Gradients of the parameters from that of the real form w.

    With G = dC/dRe W + i dC/dIm W: dC/dA = -2 K^H G D^H K^H, and dC/dtheta_j = sum_i Re(conj(G_ij) i W_ij).
    """
    cos, sin = torch.cos(parameters.theta), torch.sin(parameters.theta)
    fused = skew_inverses(*parameters, w, gradient)
    if fused is not None:
        return UnitaryParameters(*fused.unitary_pullback(cos, sin, w, gradient))
    H = parameters.theta.shape[1]
    top, bottom = gradient[:, :H], gradient[:, H:]
    g = _Complex(top[..., :H] + bottom[..., H:], top[..., H:] - bottom[..., :H])
    whole = _complex(w)
    k = _resolvent(whole, cos, sin).adjoint()
    a = k.times(g.turned(cos, -sin).times(k))
    im = -2 * a.im
    # An entry of Y stands in A twice, but for the diagonal.
    symmetric = (im + im.transpose(1, 2)).triu(1) + torch.diag_embed(im.diagonal(dim1=1, dim2=2))
    return UnitaryParameters(skew_gradient(-2 * a.re), symmetric, numerics.row_sum(g.im * whole.re - g.re * whole.im))


def unitary_step(
    parameters: UnitaryParameters, w: Float[Tensor, "P N N"], step: UnitaryParameters
) -> Float[Tensor, "P N N"]:
    """First-order change of the real form w: dW = -2 K dA K D + i W dtheta."""
    whole, cos, sin = _complex(w), torch.cos(parameters.theta), torch.sin(parameters.theta)
    k = _resolvent(whole, cos, sin)
    moved = k.times(_Complex(skew(step.a_skew), _symmetric(step.a_symmetric)).times(k)).turned(cos, sin)
    turn = step.theta[:, None]
    return _Complex(-2 * moved.re - whole.im * turn, -2 * moved.im + whole.re * turn).real()


def _complex(w: Tensor) -> _Complex:
    """The matrix of its real form."""
    H = w.shape[1] // 2
    return _Complex(w[:, :H, :H], w[:, :H, H:])


def _resolvent(w: _Complex, cos: Tensor, sin: Tensor) -> _Complex:
    """K = (W D^H + I) / 2."""
    back = w.turned(cos, -sin)
    eye = torch.eye(cos.shape[1], dtype=cos.dtype, device=cos.device)
    return _Complex((back.re + eye) / 2, back.im / 2)


def _symmetric(stored: Tensor) -> Tensor:
    # triu(1) for the mirrored half: the diagonal counts once.
    return stored.triu() + stored.triu(1).transpose(-1, -2)
