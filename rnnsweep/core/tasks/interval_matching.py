"""Interval matching: reproduce the time between two pulses (Murray 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.losses import SQUARED_ERROR, Loss
from rnnsweep.core.rng import Draws
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.synthetic import POSITIONS, LengthTask
from rnnsweep.core.types import Batch

_BREADTH = 40
"""A response has a standard deviation of one 40th of the sequence, and may be off by as much."""
_LEAST_PEAK = 0.5


@dataclass(frozen=True)
class IntervalMatching(LengthTask):
    """Two pulses, d steps apart, and a third one as go cue; wanted is a response d steps after the cue.

    With n = int(L / 10): the first pulse comes at U{0..n-1}, d is U{n..3n}, the cue comes U{n..2n} steps after the
    second pulse. Pulses are one step of 1 on the only input; the response is exp(-(t - r)**2 / (2 s**2)) at every step
    t, s = max(1, L / 40). A sequence is wrong unless the largest output exceeds .5 and comes within max(1, int(L / 40))
    steps of r.

    Numerics:
        Inputs are exactly 0 and 1; the response is formed in float64 and rounded once.

    References:
        Murray (2019), eLife 8:e43299. Ours differs: ranges and the rule for success are our own choice, in proportion
        to the length.

    Example:
        >>> task = IntervalMatching(length=100)
        >>> task.n_inputs, task.n_outputs, task.max_length
        (1, 1, 100)
    """

    loss: ClassVar[Loss] = SQUARED_ERROR
    per_step: ClassVar[bool] = True

    @property
    def least(self) -> int:
        """Ten steps: n = 1."""
        return 10

    @property
    def n_inputs(self) -> int:
        """I = 1."""
        return 1

    @property
    def n_outputs(self) -> int:
        """O = 1."""
        return 1

    @property
    def chance_loss(self) -> float:
        """Variance of the response at each step, averaged over the steps and lengths."""
        return _chance(self)[0]

    @property
    def chance_error(self) -> float:
        """Error of the best fixed time."""
        return _chance(self)[1]

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets [P, T, B, 1]."""
        draws = self.addressed(draws)
        lengths, T = self.lengths(draws), self.max_length
        n = (lengths // 10)[:, None, None]
        low = torch.cat([0 * n, n, n], dim=2)  # P 1 3
        first, interval, wait = draws.integers(low, torch.cat([n - 1, 3 * n, 2 * n], dim=2), 3, POSITIONS).unbind(2)
        # right-aligned, as all sequences are: a shorter one begins later
        first = first + (T - lengths)[:, None]
        cue = first + interval + wait
        pulses = torch.stack([first, first + interval, cue], dim=1)  # P 3 B
        inputs = torch.zeros(*draws.ids.shape, T, dtype=draws.dtype, device=draws.device).transpose(1, 2)
        inputs = inputs.contiguous().scatter_(1, pulses, 1.0)  # P T B
        width = (lengths.double() / _BREADTH).clamp(min=1)[:, None, None]
        t = torch.arange(T, device=draws.device)[None, :, None]
        z = (t - (cue + interval)[:, None]) / width  # P T B
        own = row_steps(lengths, T)[:, :, None]
        response = torch.where(own, torch.exp(-0.5 * z * z), torch.zeros_like(z)).to(draws.dtype)
        return Batch(inputs[..., None], response[..., None], lengths)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest output is too small or comes at the wrong time, bool [P, B]."""
        own = row_steps(batch.lengths, self.max_length)[:, :, None]
        # steps before a sequence's start never have its largest output
        values = torch.where(own, outputs[..., 0], torch.full_like(outputs[..., 0], -torch.inf))
        peak, peak_step = values.max(1)
        slack = torch.clamp(batch.lengths // _BREADTH, min=1)[:, None]
        late = (peak_step - batch.targets[..., 0].argmax(1)).abs() > slack
        finite = (torch.isfinite(outputs[..., 0]) | ~own).all(1)
        # not `peak <= ...`, which NaN would pass
        return late | ~finite | ~(peak > _LEAST_PEAK)


@lru_cache(maxsize=32)
def _chance(task: IntervalMatching) -> tuple[float, float]:
    """Loss and error of the best output that depends on the step alone, counted from the end."""
    T, (low, high) = task.max_length, task.length_bounds
    share = 1 / (high - low + 1)
    mass, first, second, hits = np.zeros((4, T))
    for L in range(low, high + 1):
        p = np.zeros(T)  # of the response's step, from the end
        times = _response_times(L)
        p[T - L : T - L + len(times)] = times
        t, slack = np.arange(T), max(1, L // _BREADTH)
        y = np.exp(-0.5 * ((t[:, None] - t[None]) / max(1.0, L / _BREADTH)) ** 2) * (t >= T - L)  # r t
        mass += share / L * (t >= T - L)
        first += share / L * (p @ y)
        second += share / L * (p @ y**2)
        reach = np.concatenate([np.zeros(slack + 1), np.cumsum(p), np.full(slack, p.sum())])
        hits += share * (reach[2 * slack + 1 :] - reach[: -2 * slack - 1])
    # steps that no sequence reaches have mass 0: there it is 0 / 0
    return float((second - first**2 / np.maximum(mass, 1e-300)).sum()), 1 - float(hits.max())


def _response_times(length: int) -> np.ndarray:
    """Probability of each step of the response: first pulse + wait + twice the interval."""
    n = length // 10
    doubled = np.zeros(6 * n + 1)
    doubled[2 * n :: 2] = 1 / (2 * n + 1)
    wait = np.zeros(2 * n + 1)
    wait[n:] = 1 / (n + 1)
    return np.convolve(np.convolve(np.full(n, 1 / n), wait), doubled)
