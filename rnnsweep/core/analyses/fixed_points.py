"""Fixed and slow points of trained rows, all rows and all searches at once, and their linearisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int64
from torch import Tensor

from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.core.state_map import StateMap, jacobian, product
from rnnsweep.unit import POSITIVE, Range

_EXACT = 1e-26
"""Speed, relative to 1 + |h|^2, below which a search has nothing left to gain in float64."""
_STUCK = 1e8
"""Damping at which steps are too short to matter: a minimum of the speed."""
_LITTLE = 1e-9
"""A share of q: whoever gains less by a step has arrived."""
_GROUP = 8
"""Searches of one row that are computed together."""
MARGIN = 1e-6
"""An eigenvalue counts as unstable beyond 1 + this: on a line attractor one is 1 but for rounding."""


@dataclass(frozen=True)
class Points:
    """What a search found; places beyond a row's own points hold nothing.

    Attributes:
        states: [P, K, S], those in which most searches ended first. speed: q of each.
        arrived: share of the searches that ended there. exists: which places are points.
        eigenvalues: of the Jacobian at each, the largest modulus first; NaN where it is not finite.
    """

    states: Float[Tensor, "P K S"]
    speed: Float[Tensor, "P K"]
    arrived: Float[Tensor, "P K"]
    exists: Bool[Tensor, "P K"]
    eigenvalues: Complex[Tensor, "P K S"]

    @property
    def unstable(self) -> Int64[Tensor, "P K"]:
        """Number of unstable directions."""
        return (self.eigenvalues.abs() > 1 + MARGIN).sum(-1)


@dataclass(frozen=True)
class FixedPoints(SweepAnalysis):
    """Minimise q(h) = |F(h, d) - h|^2 / 2 from states that the network visits, under one constant input.

    Attributes:
        starts: searches per row, from states spread over the trajectories.
        drive: the constant input: ``zero``, or the ``mean`` over the shown sequences.
        iterations: at most so many steps of a search.
        tolerance: q of a fixed point is at most this. slow: q of a slow point; what moves faster is left out.
        merge: points that are closer than merge (1 + |h|) are one.

    Numerics:
        Levenberg-Marquardt steps on F(h) - h in float64, which minimise q itself and converge quadratically at regular
        fixed points. A search whose q stops falling has found a slow point. Eigenvalues by LAPACK, one matrix at a
        time. Two points that are about to meet (a bifurcation) are found as one with fewer digits.

    References:
        Sussillo, Barak (2013), *Opening the black box*, Neural Computation 25; equations 2-3. Ours differs: damped
        Gauss-Newton steps with exact Jacobians in place of a quasi-Newton search.
    """

    starts: int = 32
    drive: str = "zero"
    iterations: int = 100
    tolerance: float = 1e-16
    slow: float = 1e-6
    merge: float = 1e-4

    fixed: ClassVar[Mapping[str, Any]] = {
        "sequences": Range(1, 10000, integer=True),
        "starts": Range(1, 10000, integer=True),
        "drive": ("zero", "mean"),
        "iterations": Range(1, 100000, integer=True),
        "tolerance": POSITIVE,
        "slow": POSITIVE,
        "merge": POSITIVE,
    }

    def entries(self, rows: TrainedRows) -> int:
        """A Jacobian per search."""
        return self.starts * rows.loop.size**2

    def find(self, rows: TrainedRows) -> Points:
        """The points of these rows."""
        step, inputs = rows.loop, rows.batch(self.sequences).inputs
        with torch.no_grad():
            visited = step.states(step.drives(inputs))[:, 1:].flatten(1, 2)  # P TB S
            constant = (
                inputs.mean((1, 2), keepdim=True) if self.drive == "mean" else torch.zeros_like(inputs[:, :1, :1])
            )
            drive = step.drives(constant)[:, 0]  # P 1 D
        chosen = torch.linspace(0, visited.shape[1] - 1, self.starts).round().long()
        return self.search(step, visited[:, chosen], drive)

    def search(self, step: StateMap, starts: Float[Tensor, "P B S"], drive: Float[Tensor, "P one D"]) -> Points:
        """The points that searches from these states find, for any map.

        Args:
            step: the map. starts: first states. drive: constant, one per row.
        """
        states, speed = settle(step, starts, drive, self.iterations)
        with torch.no_grad():
            return self._merged(step, states, speed, drive)

    def _merged(self, step: StateMap, states: Tensor, speed: Tensor, drive: Tensor) -> Points:
        """One of each cluster of ends, and its linearisation."""
        states, speed, owner, kept = _clustered(states, speed, self.slow, self.merge)
        B = states.shape[1]
        arrived = torch.zeros_like(speed).scatter_add_(1, owner.clamp_min(0), (owner >= 0).to(speed.dtype)) / B
        # points first, the most visited of them first; stable: ties keep the order of their speeds
        order = torch.where(kept, -arrived, torch.ones_like(arrived)).argsort(dim=1, stable=True)
        points = states.gather(1, order[..., None].expand(-1, -1, states.shape[-1]))
        exists = kept.gather(1, order)
        values = _eigenvalues_where(exists, jacobian(step, points, drive.expand(-1, B, -1)))
        return Points(points, speed.gather(1, order), arrived.gather(1, order), exists, values)

    def measure(self, rows: TrainedRows) -> Tables:
        """``points`` and ``eigenvalues``."""
        found = self.find(rows)
        P, K, S = found.states.shape
        sizes = found.eigenvalues.abs()
        point = np.arange(K)[None]
        points = long_table(
            found.exists,
            row=row_axis(P, 2),
            point=point,
            kind=np.where(found.speed.numpy() <= self.tolerance, "fixed", "slow"),
            speed=found.speed,
            arrived=found.arrived,
            norm=found.states.norm(dim=-1),
            unstable=found.unstable,
            radius=sizes[..., 0],
        )
        with np.errstate(divide="ignore"):
            timescale = -1 / np.log(sizes.numpy())
        values = long_table(
            found.exists[..., None],
            row=row_axis(P, 3),
            point=point[..., None],
            mode=np.arange(1, S + 1)[None, None],
            real=found.eigenvalues.real,
            imaginary=found.eigenvalues.imag,
            modulus=sizes,
            timescale=timescale,
        )
        return {"points": points, "eigenvalues": values}


def settle(
    step: StateMap, starts: Float[Tensor, "P B S"], drive: Float[Tensor, "P one D"], iterations: int
) -> tuple[Float[Tensor, "P B S"], Float[Tensor, "P B"]]:
    """Descend on the speed from every state: (ends, their speeds).

    Numerics:
        A step that does not lower q is not taken, its damping grows. Only searches that still move are computed, in
        groups of one size: products of another size may round differently, and how many searches of other rows still
        move must not matter to a row.
    """
    h = starts.clone()
    q, damping = speed_of(step, h, drive), torch.full(h.shape[:2], 1e-3, dtype=h.dtype)
    for _ in range(iterations):
        moving = (q > _EXACT * (1 + h.square().sum(-1))) & (damping < _STUCK)  # NaN does not move
        order = moving.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        for first in range(0, int(moving.sum(1).max()), _GROUP):
            group = order[:, first : first + _GROUP]
            wide = group[..., None].expand(-1, -1, h.shape[-1])
            at, before, damped = h.gather(1, wide), q.gather(1, group), damping.gather(1, group)
            new = at - _damped_step(step, at, drive, damped)
            speed = speed_of(step, new, drive)
            better = moving.gather(1, group) & (speed < before)
            h.scatter_(1, wide, torch.where(better[..., None], new, at))
            q.scatter_(1, group, torch.where(better, speed, before))
            # at a minimum that is not 0, q falls ever less
            stuck = better & (before - speed <= _LITTLE * before)
            damped = torch.where(better, damped / 5, damped * 5).clamp_min(1e-14)
            damping.scatter_(1, group, torch.where(stuck, torch.full_like(damped, _STUCK), damped))
        if not bool(moving.any()):
            break
    return h, q


def _damped_step(step: StateMap, h: Tensor, drive: Tensor, damping: Tensor) -> Tensor:
    """(A^T A + damping)^-1 A^T (F(h) - h) with A = J - 1."""
    drive = drive.expand(-1, h.shape[1], -1)
    identity = torch.eye(h.shape[-1], dtype=h.dtype)
    matrix = jacobian(step, h, drive) - identity
    with torch.no_grad():
        gap = step(h, drive) - h
    normal = product(matrix.mT, matrix) + damping[..., None, None] * identity
    # solve_ex: a matrix that is not finite gives NaN, which is no improvement
    return torch.linalg.solve_ex(normal, product(matrix.mT, gap[..., None])).result[..., 0]


def speed_of(step: StateMap, h: Float[Tensor, "P B S"], drive: Float[Tensor, "P one D"]) -> Float[Tensor, "P B"]:
    """q = |F(h) - h|^2 / 2."""
    drive = drive.expand(-1, h.shape[1], -1)
    with torch.no_grad():
        return (step(h, drive) - h).square().sum(-1) / 2


def _eigenvalues_where(exists: Tensor, matrices: Tensor) -> Tensor:
    """Of the matrices that count, the largest modulus first; NaN elsewhere and where one is not finite."""
    counted = exists & torch.isfinite(matrices).flatten(2).all(-1)
    found = torch.full(matrices.shape[:3], math.nan, dtype=torch.complex128)
    values = torch.linalg.eigvals(matrices[counted])
    found[counted] = values.gather(-1, values.abs().argsort(dim=-1, descending=True, stable=True))
    return found


def _clustered(states: Tensor, speed: Tensor, slow: float, merge: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ends by speed, the place of each end's cluster (-1: none), and which places stand for their cluster."""
    order = torch.where(torch.isfinite(speed), speed, torch.full_like(speed, math.inf)).argsort(dim=1, stable=True)
    states = states.gather(1, order[..., None].expand_as(states))
    speed = speed.gather(1, order)
    owner = torch.full_like(order, -1)
    scale = merge * (1 + states.norm(dim=-1))
    for place in range(states.shape[1]):
        free = (owner[:, place] < 0) & (speed[:, place] <= slow)  # P
        near = (states - states[:, place : place + 1]).norm(dim=-1) <= scale[:, place : place + 1]
        mine = near & free[:, None] & (owner < 0) & (speed <= slow)
        owner = torch.where(mine, torch.full_like(owner, place), owner)
    places = torch.arange(states.shape[1])
    return states, speed, owner, owner == places
