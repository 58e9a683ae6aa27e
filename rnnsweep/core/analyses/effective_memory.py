"""Effective memory of trained rows: what is left at the end of a disturbance some steps before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.analyses.jacobian_spectra import spaced_lags
from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.core.state_map import StateMap
from rnnsweep.unit import POSITIVE, Range


@dataclass(frozen=True)
class EffectiveMemory(SweepAnalysis):
    """Disturb a sequence `lag` steps before its end and compare the last states.

    Of the state: a random direction is added. Of the input: the step's input becomes that of another sequence. Either
    way the disturbance counts as 1 right after it has entered the state; what is left of it at the end is the
    geometric mean over sequences. The half-life is the lag at which half is left.

    Attributes:
        lags: at most so many, closer together near the end.
        size: of a state's disturbance, relative to the root mean square norm of the states.

    Numerics:
        float64. Sequences with the same input at a step say nothing about it and are left out there. Where more than
        half is left at every lag the half-life is inf, and `at_longest` says how much is left at the longest.

    References:
        As the impulse response of a linear system; in finite size, since trained networks saturate.
    """

    lags: int = 24
    size: float = 0.01

    fixed: ClassVar[Mapping[str, Any]] = {
        "sequences": Range(2, 10000, integer=True),
        "lags": Range(1, 100000, integer=True),
        "size": POSITIVE,
    }

    sequences: int = 16

    def entries(self, rows: TrainedRows) -> int:
        """A copy of the sequences per lag, and all states."""
        return rows.loop.size * self.sequences * (2 * self.lags + rows.program.task.max_length)

    def measure(self, rows: TrainedRows) -> Tables:
        """``responses`` by lag, and ``summary`` with the half-life; `what` is ``state`` or ``input``."""
        step, P = rows.loop, len(rows)
        with torch.no_grad():
            drives = step.drives(rows.batch(self.sequences).inputs)
            states = step.states(drives)
        lags = [0, *spaced_lags(drives.shape[1] - 1, self.lags)] if drives.shape[1] > 1 else [0]
        kicks = {"state": self._added(states, lags), "input": swapped(step, states, drives, lags)}
        tables, summaries = [], []
        for what, disturbed in kicks.items():
            left = response(step, states, drives, lags, disturbed)  # P K
            tables.append(long_table(row=row_axis(P, 2), what=np.array(what), lag=np.array(lags)[None], response=left))
            half = half_life(left, lags)
            summaries.append(long_table(row=np.arange(P), what=np.array(what), half_life=half, at_longest=left[:, -1]))
        return {"responses": _joined(tables), "summary": _joined(summaries)}

    def _added(self, states: Tensor, lags: Sequence[int]) -> Tensor:
        """The states `lag` steps before the end, each moved in a random direction; the same ones for all rows."""
        T, B, S = states.shape[1] - 1, states.shape[2], states.shape[3]
        drawn = rng.normals(torch.tensor([rng.key(0, 0, "analysis")]), len(lags) * B * S, rng.stream_of("kicks"))
        direction = drawn[0].double().view(len(lags), B, S)
        direction = direction / direction.norm(dim=-1, keepdim=True)
        scale = self.size * states.square().sum(-1).mean((1, 2)).sqrt()  # P
        return states[:, [T - lag for lag in lags]] + scale[:, None, None, None] * direction


def swapped(
    step: StateMap, states: Float[Tensor, "P T1 B S"], drives: Float[Tensor, "P T B D"], lags: Sequence[int]
) -> Float[Tensor, "P K B S"]:
    """The states `lag` steps before the end, had the last input before each been that of the next sequence."""
    T = drives.shape[1]
    with torch.no_grad():
        return torch.stack([step(states[:, T - lag - 1], drives[:, T - lag - 1].roll(1, 1)) for lag in lags], 1)


def response(
    step: StateMap,
    states: Float[Tensor, "P T1 B S"],
    drives: Float[Tensor, "P T B D"],
    lags: Sequence[int],
    disturbed: Float[Tensor, "P K B S"],
) -> Float64[Tensor, "P K"]:
    """What is left at the end of each disturbance, relative to its size at first; geometric mean over sequences.

    Args:
        step: any map. states: its trajectories under these drives. lags: ascending, from 0.
        disturbed: the states that many steps before the end.
    """
    T, B = drives.shape[1], drives.shape[2]
    first = torch.stack([states[:, T - lag] for lag in lags], 1)
    size = (disturbed - first).norm(dim=-1)  # P K B
    copies = disturbed[:, :0]
    waiting = len(lags)
    with torch.no_grad():
        for t in range(T - lags[-1], T + 1):
            # those that are disturbed at step t join the copies that were disturbed before
            while waiting and lags[waiting - 1] == T - t:
                waiting -= 1
                copies = torch.cat((disturbed[:, waiting : waiting + 1], copies), 1)
            if t < T:
                copies = step(copies.flatten(1, 2), drives[:, t].repeat(1, copies.shape[1], 1)).unflatten(1, (-1, B))
    left = (copies - states[:, -1:]).norm(dim=-1)
    told = size > 0
    ratio = torch.where(told, left / torch.where(told, size, torch.ones_like(size)), torch.ones_like(size)).log()
    counted = told.sum(-1)
    mean = (ratio * told).sum(-1) / counted  # 0 / 0: no sequence says anything about this lag
    return mean.exp()


def half_life(left: Float64[Tensor, "P K"], lags: Sequence[int]) -> Float64[Tensor, " P"]:
    """The first lag at which half is left, between two lags along the line through their logarithms; inf: at none.

    Example:
        >>> half_life(torch.tensor([[1.0, 0.5**0.5, 0.25]], dtype=torch.float64), [0, 1, 4]).tolist()
        [2.0]
    """
    known = ~torch.isnan(left)
    found = torch.full((len(left),), torch.inf, dtype=torch.float64)
    last = torch.full((len(left),), torch.nan, dtype=torch.float64)
    last_lag = torch.zeros(len(left), dtype=torch.float64)
    for index, lag in enumerate(lags):
        value = left[:, index]
        share = (last.log() - np.log(0.5)) / (last.log() - value.clamp_min(1e-300).log())
        between = torch.where(torch.isnan(last), torch.full_like(last, lag), last_lag + share * (lag - last_lag))
        found = torch.where(known[:, index] & (value <= 0.5) & torch.isinf(found), between, found)
        last = torch.where(known[:, index], value, last)
        last_lag = torch.where(known[:, index], torch.full_like(last_lag, lag), last_lag)
    return torch.where(known.any(1), found, torch.full_like(found, torch.nan))


def _joined(tables: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
