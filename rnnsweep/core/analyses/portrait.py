"""State-space portraits: trajectories and fixed points of trained rows along their own principal components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.analyses.fixed_points import FixedPoints
from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Portrait(SweepAnalysis):
    """Principal components of the states that a row visits; each row has its own.

    Attributes:
        components: how many coordinates are given.
        starts: searches for fixed points, see `FixedPoints`, whose other settings are its defaults; 0: none.

    Numerics:
        float64, singular values of the centred states, one matrix at a time. Signs are such that the largest loading of
        a component is positive; where two components have equal variances they are not unique.

    References:
        Sussillo, Barak (2013), figures; participation ratio, (sum of variances)^2 / sum of squares, as in Gao, Ganguli
        (2015).
    """

    components: int = 3
    starts: int = 24

    fixed: ClassVar[Mapping[str, Any]] = {
        "sequences": Range(1, 10000, integer=True),
        "components": Range(2, 64, integer=True),
        "starts": Range(0, 10000, integer=True),
    }

    sequences: int = 16

    def entries(self, rows: TrainedRows) -> int:
        """The states, or the search's Jacobians."""
        visited = 3 * self.sequences * (rows.program.task.max_length + 1) * rows.loop.size
        return max(visited, self.starts * rows.loop.size**2)

    def measure(self, rows: TrainedRows) -> Tables:
        """``trajectories``, ``fixed_points``, ``components``, ``summary``."""
        step, batch = rows.loop, rows.batch(self.sequences)
        with torch.no_grad():
            states = step.states(step.drives(batch.inputs))  # P T+1 B S
        P, steps, B, S = states.shape
        centre, axes, shares = principal_axes(states.flatten(1, 2), min(self.components, S))
        count = axes.shape[1]
        along = numerics.matmul(states.flatten(1, 2) - centre[:, None], axes.mT).unflatten(1, (steps, B))
        label = batch.targets if batch.targets.ndim == 2 and not batch.targets.is_floating_point() else None
        trajectories = long_table(
            row=row_axis(P, 3),
            sequence=np.arange(B)[None, None],
            step=np.arange(steps)[None, :, None],
            target=np.full((1, 1, 1), -1) if label is None else label.numpy()[:, None],
            **{f"pc{k + 1}": along[..., k] for k in range(count)},
        )
        components = long_table(row=row_axis(P, 2), component=np.arange(1, S + 1)[None], variance=shares)
        ratio = 1 / shares.square().sum(1)
        summary = long_table(row=np.arange(P), participation=ratio, first=shares[:, 0])
        tables = {"trajectories": trajectories, "components": components, "summary": summary}
        return tables | {"fixed_points": self._points(rows, centre, axes)}

    def _points(self, rows: TrainedRows, centre: Tensor, axes: Tensor) -> dict[str, np.ndarray]:
        """Where fixed and slow points lie; an empty table where none are wanted."""
        search = FixedPoints(sequences=self.sequences, starts=max(1, self.starts))
        found = search.find(rows)
        along = numerics.matmul(found.states - centre[:, None], axes.mT)
        return long_table(
            found.exists & (self.starts > 0),
            row=row_axis(len(rows), 2),
            point=np.arange(found.exists.shape[1])[None],
            speed=found.speed,
            unstable=found.unstable,
            **{f"pc{k + 1}": along[..., k] for k in range(axes.shape[1])},
        )


def principal_axes(
    states: Float64[Tensor, "P N S"], count: int
) -> tuple[Float64[Tensor, "P S"], Float64[Tensor, "P K S"], Float64[Tensor, "P S"]]:
    """(Mean, the first axes, every component's share of the variance) of each row's states; NaN where not finite."""
    whole = torch.isfinite(states).flatten(1).all(1)[:, None, None]
    clean = torch.where(whole, states, torch.zeros_like(states))
    centre = clean.mean(1)
    scatter = clean - centre[:, None]
    # of the covariance: S x S, however many states there are
    variance, axes = torch.linalg.eigh(numerics.matmul(scatter.mT, scatter))
    variance, axes = variance.flip(-1).clamp_min(0), axes.flip(-1).mT[:, :count]  # P K S
    largest = axes.gather(-1, axes.abs().argmax(-1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    shares = torch.where(whole[..., 0], variance / variance.sum(-1, keepdim=True), torch.full_like(variance, torch.nan))
    return torch.where(whole[..., 0], centre, torch.full_like(centre, torch.nan)), axes, shares
