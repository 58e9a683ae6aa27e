"""Singular values of products of Jacobians over a growing lag: how far, and in how many directions, signals reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.core.state_map import StateMap, jacobian, product
from rnnsweep.unit import Range

_RESOLVED = -14.0
"""log10 of the smallest singular value, relative to the largest, that float64 tells from rounding."""


@dataclass(frozen=True)
class JacobianSpectra(SweepAnalysis):
    """Singular values of ds_T / ds_{T-lag} = J_T J_{T-1} ... along the shown sequences.

    Attributes:
        lags: at most so many, closer together near the end.

    Numerics:
        float64; the product is rescaled at every step, its logarithm kept. Values below 1e-14 of the largest are
        rounding and given as NaN. The state holds a cell's memory too.

    References:
        Pennington, Schoenholz, Ganguli (2017), *Resurrecting the sigmoid*; Pascanu, Mikolov, Bengio (2013), section 2.
    """

    lags: int = 16

    fixed: ClassVar[Mapping[str, Any]] = {
        "sequences": Range(1, 10000, integer=True),
        "lags": Range(1, 100000, integer=True),
    }

    def entries(self, rows: TrainedRows) -> int:
        """A Jacobian per sequence."""
        return self.sequences * rows.loop.size**2

    def measure(self, rows: TrainedRows) -> Tables:
        """``singular_values``: log10 of the largest, the median and the root mean square, means over sequences."""
        step = rows.loop
        drives = step.drives(rows.batch(self.sequences).inputs)
        lags = spaced_lags(drives.shape[1], self.lags)
        with torch.no_grad():
            states = step.states(drives)
        values = product_singular_values(step, states, drives, lags)  # P K B S
        top = values[..., 0]
        middle = values[..., (values.shape[-1] - 1) // 2]
        size = values.shape[-1]
        mean_square = torch.logsumexp(2 * np.log(10) * values, -1) / np.log(10) - np.log10(size)
        rms = mean_square / 2
        known = torch.where(middle >= top + _RESOLVED, middle, torch.full_like(middle, torch.nan))
        table = long_table(
            row=row_axis(len(rows), 2),
            lag=np.array(lags)[None],
            largest=top.mean(2),
            median=known.mean(2),
            rms=rms.mean(2),
        )
        return {"singular_values": table}


def spaced_lags(steps: int, count: int) -> list[int]:
    """At most `count` whole lags 1..steps, evenly spaced on a logarithmic scale, both ends included.

    Example:
        >>> spaced_lags(30, 6), spaced_lags(3, 16)
        ([1, 2, 4, 8, 15, 30], [1, 2, 3])
    """
    return sorted({int(round(lag)) for lag in np.geomspace(1, steps, min(count, steps) if count > 1 else 1)} | {steps})


def product_singular_values(
    step: StateMap, states: Float[Tensor, "P T1 B S"], drives: Float[Tensor, "P T B D"], lags: Sequence[int]
) -> Float64[Tensor, "P K B S"]:
    """log10 of the singular values of ds_T / ds_{T-lag}, descending, for ascending lags of any map.

    Args:
        step: the map. states: its trajectories under these drives, the first state included. lags: 1..T.
    """
    P, B, S = states.shape[0], states.shape[2], states.shape[3]
    whole, scale = torch.eye(S, dtype=states.dtype).expand(P, B, -1, -1), torch.zeros(P, B, dtype=states.dtype)
    found: list[Tensor] = []
    T = drives.shape[1]
    for lag in range(1, max(lags) + 1):
        whole = product(whole, jacobian(step, states[:, T - lag], drives[:, T - lag]))
        size = whole.abs().amax((-2, -1))
        # 0 stays 0: nothing of the signal is left
        whole = whole / torch.where(size > 0, size, torch.ones_like(size))[..., None, None]
        scale = scale + size.log10()
        if lag in lags:
            found.append(_singular(whole).log10() + scale[..., None])
    return torch.stack(found, 1)


def _singular(matrices: Tensor) -> Tensor:
    """Singular values of each matrix; NaN where it is not finite."""
    finite = torch.isfinite(matrices).flatten(2).all(-1)[..., None]
    values = torch.linalg.svdvals(torch.where(finite[..., None], matrices, torch.zeros_like(matrices)))
    return torch.where(finite, values, torch.full_like(values, torch.nan))
