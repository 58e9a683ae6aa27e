"""Full Lyapunov spectra of trained rows along the sequences that they see, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.core.state_map import StateMap, jacobian, product, pushed
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Lyapunov(SweepAnalysis):
    """Exponents along driven trajectories, by QR of the products of Jacobians.

    Attributes:
        drive: ``task``, along the shown sequences, as long as they are; ``zero``, without input, from where these end.
        steps: of the run without input. warmup: share of a run's steps that are not counted.
        exponents: how many, the largest ones; None: all.

    Numerics:
        float64, orthonormalised at every step, so that nothing overflows. The first directions are drawn at random, the
        same ones for all rows. A direction that dies out exactly has the exponent -inf; one below some -30 nats per
        step is lost in rounding. Over few steps the exponents are those of finite time: they depend on where the
        sequences begin.

    References:
        Benettin et al. (1980); Engelken, Wolf, Abbott (2023), *Lyapunov spectra of chaotic recurrent neural networks*,
        Phys. Rev. Research 5; Vogt et al. (2022), *On Lyapunov exponents for RNNs*.
    """

    drive: str = "task"
    steps: int = 500
    warmup: float = 0.1
    exponents: int | None = None

    fixed: ClassVar[Mapping[str, Any]] = {
        "sequences": Range(1, 10000, integer=True),
        "drive": ("task", "zero"),
        "steps": Range(2, 10**7, integer=True),
        "warmup": Range(0, 1, open_high=True),
        "exponents": Range(1, 8192, integer=True, optional=True),
    }

    def entries(self, rows: TrainedRows) -> int:
        """A Jacobian per sequence."""
        return self.sequences * rows.loop.size**2

    def measure(self, rows: TrainedRows) -> Tables:
        """``spectrum``, means and deviations over sequences; ``summary``."""
        step, size = rows.loop, rows.loop.size
        drives = step.drives(rows.batch(self.sequences).inputs)
        start = step.initial_state(drives.shape[2])
        if self.drive == "zero":
            with torch.no_grad():
                start = step.states(drives)[:, -1]
            nothing = torch.zeros_like(rows.batch(self.sequences).inputs[:, :1])
            drives = step.drives(nothing).expand(-1, self.steps, -1, -1)
        count = size if self.exponents is None else min(self.exponents, size)
        each = spectrum(step, drives, start, count, int(self.warmup * drives.shape[1]))
        found = each.mean(1).sort(-1, descending=True).values.numpy()  # P K
        P, deviation = len(rows), _deviation(each)
        table = long_table(row=row_axis(P, 2), index=np.arange(1, count + 1)[None], exponent=found, deviation=deviation)
        summary: dict[str, Any] = {"row": np.arange(P), "size": np.full(P, size), "largest": found[:, 0]}
        if count == size:  # of some of them neither has a value
            summary |= {"sum": found.sum(1), "dimension": kaplan_yorke(torch.from_numpy(found)).numpy()}
        return {"spectrum": table, "summary": long_table(**summary, entropy=np.where(found > 0, found, 0).sum(1))}


def spectrum(
    step: StateMap, drives: Float[Tensor, "P T B D"], start: Float[Tensor, "P B S"], exponents: int, warmup: int = 0
) -> Float64[Tensor, "P B K"]:
    """Growth rates of each trajectory in nats per step, of any map.

    Args:
        step: the map. drives: of each step. start: first states.
        exponents: K. warmup: first steps that move state and directions but are not counted, fewer than T.
    """
    P, B, S = start.shape
    state, axes = start, _directions(S, exponents).expand(P, B, -1, -1)
    total = torch.zeros(P, B, exponents, dtype=torch.float64)
    for t in range(drives.shape[1]):
        axes, growth = torch.linalg.qr(product(jacobian(step, state, drives[:, t]), axes))
        if t >= warmup:
            total += growth.diagonal(dim1=-2, dim2=-1).abs().log()
        with torch.no_grad():
            state = step(state, drives[:, t])
    return total / (drives.shape[1] - warmup)


def largest_exponent(
    step: StateMap, drive: Float[Tensor, "P B D"], start: Float[Tensor, "P B S"], steps: int, warmup: int = 0
) -> Float64[Tensor, "P B"]:
    """The largest exponent of each trajectory under a constant drive, without Jacobians.

    Args:
        step: any map. drive: constant. start: first states.
        steps: that are counted. warmup: before them, in which the direction turns to the fastest one.
    """
    state, total = start, torch.zeros(start.shape[:2], dtype=torch.float64)
    tangent = _directions(start.shape[-1], 1)[:, 0].expand_as(start)
    for t in range(warmup + steps):
        state, moved = pushed(step, state, drive, tangent)
        size = moved.norm(dim=-1)
        if t >= warmup:
            total += size.log()
        # a tangent that has died out stays 0, not 0 / 0
        tangent = moved / torch.where(size == 0, torch.ones_like(size), size)[..., None]
    return total / steps


def kaplan_yorke(spectrum: Float64[Tensor, "P K"]) -> Float64[Tensor, " P"]:
    """Kaplan and Yorke's dimension of whole spectra in descending order.

    j + (sum of the first j) / |exponent j + 1| with the largest j whose sum is not negative; 0 where the first is
    negative, K where no sum is.

    References:
        Kaplan, Yorke (1979).

    Example:
        >>> kaplan_yorke(torch.tensor([[0.5, 0.0, -1.0], [-1.0, -2.0, -3.0]], dtype=torch.float64)).tolist()
        [2.5, 0.0]
    """
    sums, K = spectrum.cumsum(-1), spectrum.shape[-1]
    whole = (sums >= 0).long().cumprod(-1).sum(-1)  # j
    padded = torch.cat((torch.zeros_like(sums[:, :1]), sums), -1)
    next_ = spectrum.gather(-1, whole.clamp_max(K - 1)[:, None])[:, 0].abs()
    inside = padded.gather(-1, whole[:, None])[:, 0] / next_
    dimension = whole + torch.where(whole < K, inside, torch.zeros_like(inside))
    return torch.where(torch.isnan(spectrum).any(-1), torch.full_like(dimension, torch.nan), dimension)


def _directions(size: int, count: int) -> Float64[Tensor, "S K"]:
    """Orthonormal columns in general position: unit vectors would miss what a block of the map does alone."""
    drawn = rng.normals(torch.tensor([rng.key(0, 0, "analysis")]), size * count, rng.stream_of("directions"))
    return torch.linalg.qr(drawn[0].double().view(size, count)).Q


def _deviation(each: Tensor) -> np.ndarray:
    """Deviation over sequences; NaN where some exponent is not finite."""
    finite = each.isfinite().all(1)
    spread = torch.where(each.isfinite(), each, torch.zeros_like(each)).std(1, correction=0)
    return torch.where(finite, spread, torch.full_like(spread, torch.nan)).numpy()
