"""Division of a matrix by its spectral radius, with the exact gradient through the leading eigenvalue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Complex128, Float, Float64
from torch import Tensor

from rnnsweep.core import host_graph, numerics
from rnnsweep.core.families.leading_powers import Leaders, leaders_by_squaring, simple_leaders
from rnnsweep.core.remembered import Remembered

_TIE = 1e-9
"""Relative distance below which two leading eigenvalues count as tied, in float64."""
_ROUNDINGS = 4.0
"""How many roundings of every entry may have moved each of two eigenvalues that were tied."""
_BESIDE = 8.0
"""Distance of an inverse iteration's shift from its eigenvalue, in roundings."""


def tie_tolerance(size: int, dtype: torch.dtype) -> float:
    """Relative distance below which leading eigenvalues of an n x n matrix in this type count as tied.

    Rounding changes a matrix by at most eps/2 in relative Frobenius norm, which is up to sqrt(n) times its largest
    singular value; a simple eigenvalue of a normal matrix moves no further than that, and each of the two may.

    Example:
        >>> f"{tie_tolerance(64, torch.float32):.1e}", tie_tolerance(64, torch.float64)
        ('3.8e-06', 1e-09)
    """
    return max(_TIE, _ROUNDINGS * math.sqrt(size) * torch.finfo(dtype).eps)


@dataclass(frozen=True)
class Leading:
    """Leading eigenvalues of a pack's matrices.

    Attributes:
        rho: spectral radius [P], float64; NaN for a non-finite matrix.
        slope: d rho / d matrix, [P, n, n] float64; 0 where tied.
        tied: bool [P]: more than one real eigenvalue or complex pair of that size, or no full set of eigenvectors.
    """

    rho: Tensor
    slope: Tensor
    tied: Tensor


def leading(matrices: Float[Tensor, "P n n"]) -> Leading:
    """Spectral radius of every matrix [P, n, n] and its derivative.

    Numerics:
        In float64. By squaring (`leading_powers`) on a device, and on a CPU with loops of ours up to `SQUARED` units;
        there rows whose leader is not simple, and all rows elsewhere, by LAPACK's eigenvalues and inverse iteration.
        Ties are judged by the type that the matrices come in, whose rounding has parted them (`tie_tolerance`).
        d rho = Re(conj(lambda) y^T dT x) / |lambda| with right and left eigenvectors x, y, y^T x = 1; holds for a
        simple real leader and for a complex pair.

    References:
        Magnus (1985), derivative of a simple eigenvalue.
    """
    matrices = matrices.detach()
    if not numerics.readable(matrices):
        return Leading(*_squared(matrices))
    # Called as a whole where updates are recorded, too: those after a step are those before the next one.
    return Leading(*host_graph.called(_leaders, matrices))


@Remembered
def _squared(matrices: Tensor) -> Leaders:
    return leaders_by_squaring(matrices, tie_tolerance(matrices.shape[-1], matrices.dtype))


@Remembered
def _leaders(matrices: Tensor) -> Leaders:
    found = simple_leaders(matrices, tie_tolerance(matrices.shape[-1], matrices.dtype))
    if found is None:
        return by_lapack(matrices)
    rest = found.tied.clone()
    if rest.any():
        for whole, part in zip(found, by_lapack(matrices[rest]), strict=True):
            whole[rest] = part
    return found


def by_lapack(matrices: Float[Tensor, "P n n"]) -> Leaders:
    """The same of matrices on a CPU, by LAPACK."""
    n, tie = matrices.shape[-1], tie_tolerance(matrices.shape[-1], matrices.dtype)
    finite = torch.isfinite(matrices).flatten(1).all(1)
    # LAPACK is not asked about NaN: an error would stop all rows.
    asked = torch.where(finite[:, None, None], matrices.double(), 0.0)
    values = torch.linalg.eigvals(asked)  # P n
    sizes = values.abs()
    rho, first = sizes.max(1)
    value = values.gather(1, first[:, None])  # P 1
    complex_pair = value.imag[:, 0].abs() > tie * rho
    # A complex pair is one leader: its two members are equally long.
    alike = (sizes >= (rho * (1 - tie))[:, None]).sum(1)
    # of length 1: neither largest nor smallest numbers leave their range
    direction = value / rho[:, None]
    right, left = _eigenvectors(asked / rho[:, None, None], direction)
    both = (right * left).sum(1)[:, None, None]  # y^T x
    # Only the part of d lambda along lambda changes |lambda|.
    slope = (direction.conj()[:, :, None] * left[:, :, None] * right[:, None, :] / both).real
    # No full set of eigenvectors: y^T x is 0, what it divides not finite.
    tied = (rho == 0) | (alike > 1 + complex_pair.long()) | ~torch.isfinite(slope).flatten(1).all(1)
    slope = torch.where((tied | ~finite)[:, None, None], 0.0, slope)
    return Leaders(torch.where(finite, rho, math.nan), slope.reshape(-1, n, n), tied & finite)


def _eigenvectors(matrices: Float64[Tensor, "P n n"], value: Complex128[Tensor, "P 1"]) -> tuple[Tensor, Tensor]:
    """Right and left eigenvectors [P, n] of an eigenvalue, by two steps of inverse iteration.

    A third of what all eigenvectors take. The shift is a few roundings beside the eigenvalue, so that the matrix has an
    inverse: each step leaves of other eigenvectors as much as the shift's distance is of theirs.
    """
    n = matrices.shape[-1]
    shift = value * (1 + _BESIDE * torch.finfo(matrices.dtype).eps)
    factors, pivots, _ = torch.linalg.lu_factor_ex(matrices - shift[:, :, None] * torch.eye(n, dtype=matrices.dtype))
    # Of no structure that a matrix might have, so that no eigenvector is at right angles to it.
    start = torch.cos(torch.arange(n, dtype=matrices.dtype) ** 2 + 1).to(value.dtype)
    found = []
    for adjoint in (False, True):
        vector = start.expand(len(matrices), n)[:, :, None]
        for _ in range(2):
            vector = torch.linalg.lu_solve(factors, pivots, vector, adjoint=adjoint)
            vector = vector / vector.abs().amax(1, keepdim=True)
        found.append(vector[:, :, 0])
    return found[0], found[1].conj()


class _Divided(torch.autograd.Function):
    """T / rho with its pull-back: autograd by itself would take rho, which LAPACK gave, for a constant."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, lead: Leading, on: Tensor) -> Tensor:
        ctx.save_for_backward(matrices)
        ctx.lead, ctx.on = lead, on
        # Division by exactly 1 changes no bit of the rows that are off.
        scale = torch.where(on, lead.rho, torch.ones_like(lead.rho)).to(matrices.dtype)[:, None, None]
        return matrices / scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (matrices,), (gradient,) = ctx.saved_tensors, gradients
        return divided_pullback(matrices, ctx.lead, ctx.on, gradient), None, None


def divided(matrices: Float[Tensor, "P n n"], lead: Leading, on: Bool[Tensor, " P"]) -> Float[Tensor, "P n n"]:
    """T / rho where `on` [P], T elsewhere; differentiable, once."""
    result = _Divided.apply(matrices, lead, on)
    assert isinstance(result, Tensor)
    return result


def divided_pullback(
    matrices: Float[Tensor, "P n n"], lead: Leading, on: Bool[Tensor, " P"], gradient: Float[Tensor, "P n n"]
) -> Float[Tensor, "P n n"]:
    """Gradient of T: G / rho - <G, T> / rho^2 d rho."""
    rho = lead.rho.to(matrices.dtype)[:, None, None]
    inner = (gradient * matrices).flatten(1).sum(1)[:, None, None]
    # Rows that are off may have rho = 0: what that gives is not selected.
    through = gradient / rho - inner / (rho * rho) * lead.slope.to(matrices.dtype)
    return torch.where(on[:, None, None], through, gradient)


def divided_step(
    matrices: Float[Tensor, "P n n"], lead: Leading, on: Bool[Tensor, " P"], step: Float[Tensor, "P n n"]
) -> Float[Tensor, "P n n"]:
    """First-order change of T / rho."""
    rho = lead.rho.to(matrices.dtype)[:, None, None]
    inner = (lead.slope.to(matrices.dtype) * step).flatten(1).sum(1)[:, None, None]
    return torch.where(on[:, None, None], step / rho - matrices * inner / (rho * rho), step)
