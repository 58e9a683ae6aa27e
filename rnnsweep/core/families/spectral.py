"""Division of a matrix by its spectral radius, with the exact gradient through the leading eigenvalue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core import host_graph, numerics
from rnnsweep.core.families.leading_powers import leaders_by_squaring
from rnnsweep.core.remembered import Remembered

_TIE = 1e-9
"""Relative distance below which two leading eigenvalues count as tied, in float64."""
_ROUNDINGS = 4.0
"""How many roundings of every entry may have moved each of two eigenvalues that were tied."""


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
        LAPACK per row, in float64, on the CPU; on a device by squaring (`leading_powers`). Ties are judged by the type
        that the matrices come in, whose rounding has parted them (`tie_tolerance`).
        d rho = Re(conj(lambda) y^T dT x) / |lambda| with right and left eigenvectors x, y, y^T x = 1; holds for a
        simple real leader and for a complex pair.

    References:
        Magnus (1985), derivative of a simple eigenvalue.
    """
    matrices = matrices.detach()
    if not numerics.readable(matrices):
        return Leading(*leaders_by_squaring(matrices, tie_tolerance(matrices.shape[-1], matrices.dtype)))
    # Called as a whole where updates are recorded, too: those after a step are those before the next one.
    return Leading(*host_graph.called(_leaders, matrices))


@Remembered
def _leaders(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    tie = tie_tolerance(matrices.shape[-1], matrices.dtype)
    each = [_leading(matrix, tie) for matrix in matrices.double()]
    rho = torch.tensor([item[0] for item in each], dtype=torch.float64)
    return rho, torch.stack([item[1] for item in each]), torch.tensor([item[2] for item in each])


def _leading(matrix: Tensor, tie: float) -> tuple[float, Tensor, bool]:
    none = torch.zeros_like(matrix)
    # LAPACK is not asked about NaN: an error would stop all rows.
    if not bool(torch.isfinite(matrix).all()):
        return math.nan, none, False
    values, right = torch.linalg.eig(matrix)
    sizes = values.abs()
    first = int(sizes.argmax())
    rho, value = float(sizes[first]), values[first]
    complex_pair = abs(float(value.imag)) > tie * rho
    # A complex pair is one leader: its two members are equally long.
    alike = int((sizes >= rho * (1 - tie)).sum())
    if rho == 0 or alike > (2 if complex_pair else 1):
        return rho, none, True
    unit = torch.zeros(len(matrix), 1, dtype=values.dtype)
    unit[first] = 1
    left, _ = torch.linalg.solve_ex(right.T, unit)  # row `first` of right^-1
    # Only the part of d lambda along lambda changes |lambda|.
    slope = (value.conj() * torch.outer(left[:, 0], right[:, first])).real / rho
    # No full set of eigenvectors: `right` is singular, the solve not finite.
    if not bool(torch.isfinite(slope).all()):
        return rho, none, True
    return rho, slope, False


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
