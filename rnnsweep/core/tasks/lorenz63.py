"""Lorenz's system of 1963: predict the next step, and be judged by what the network generates alone.

Shapes: P rows · T = `length` steps · B mini-batch · m generated steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.losses import SQUARED_ERROR, Loss
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.reconstruction import (
    bin_counts,
    largest_divergence,
    power_spectrum,
    spectrum_errors,
    state_space_divergence,
)
from rnnsweep.core.tasks.success import mean_squared_errors
from rnnsweep.core.tasks.synthetic import POSITIONS
from rnnsweep.core.types import Batch
from rnnsweep.errors import ConfigError
from rnnsweep.unit import POSITIVE, Metric, Range

CPU = torch.device("cpu")
DIVERGENCE, SPECTRUM = "valid/d_stsp", "valid/spectrum_error"

_SIGMA, _RHO, _BETA = 10.0, 28.0, 8.0 / 3.0
_TRANSIENT = 2000
"""Steps that are thrown away: the start is not on the attractor."""
_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_BINS, _SMOOTHING, _WIDTH = 30, 1e-6, 20.0
"""Parts per variable of the state space, its smoothing, and that of the spectra in frequency steps."""


@dataclass(frozen=True)
class Lorenz63(Task):
    """x' = 10 (y - x), y' = x (28 - z) - y, z' = x y - 8/3 z, sampled every `dt`; wanted is the next step.

    One trajectory, standardised by the mean and deviation of its first third, is training, validation and test data,
    one after another, `steps` each; a sequence is a random piece of one. A sequence is wrong if its mean squared error
    per value exceeds `tolerance`.

    Evaluations also let the network run on its own outputs, `generate` steps after each sequence of a first
    mini-batch, and compare what it makes with the validation trajectory: ``valid/d_stsp``, the divergence of the
    occupation of state space (30 parts per variable), and ``valid/spectrum_error``, the Hellinger distance of the power
    spectra (smoothed with 20 frequency steps), over pieces of the same length.

    Attributes:
        length: steps of a sequence.
        dt: time between steps; also that of the integration.
        steps: of the trajectory, of each part.
        tolerance: squared units of the standardised variables.
        generate: steps of each generated trajectory; 0: nothing is generated, and both metrics are left out.
        observed: whether the true state is the input of each step; without, nothing is, and what the network knows of
            the system must come by `teacher_forcing`.

    Numerics:
        Classical Runge-Kutta steps of order 4 in float64, one scalar at a time; the standardised trajectory is rounded
        to float32, whatever the pack computes in. Non-finite generated points are in no part of the state space.

    References:
        Lorenz (1963), *Deterministic nonperiodic flow*; Brenner et al. (2022) and Hess et al. (2023) for what is
        measured. Ours differs: no observation noise, and the rule for errors is our own.

    Example:
        >>> task = Lorenz63(generate=0)
        >>> task.n_inputs, task.n_outputs, task.max_length
        (3, 3, 50)
    """

    fixed: ClassVar = {
        "length": Range(1, integer=True, open_high=True),
        "dt": Range(0, 0.05, open_low=True),
        "steps": Range(1000, integer=True, open_high=True),
        "tolerance": POSITIVE,
        "generate": Range(0, integer=True, open_high=True),
        "observed": (True, False),
    }
    loss: ClassVar[Loss] = SQUARED_ERROR
    per_step: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, Metric]] = {
        DIVERGENCE: Metric(
            "divergence of the generated occupation of state space, nats", "state-space divergence", drawn=True
        ),
        SPECTRUM: Metric("Hellinger distance of the generated power spectra, 0..1", "spectrum error", drawn=True),
    }

    length: int = 50
    dt: float = 0.01
    steps: int = 20000
    tolerance: float = 0.0001
    generate: int = 1000
    observed: bool = True

    def check(self) -> None:
        """Also refuse pieces that are longer than what they are cut from.

        Raises:
            ConfigError: some field is out of range.
        """
        super().check()
        for key in ("length", "generate"):
            if getattr(self, key) >= self.steps:
                allowed = f"< task.steps, {self.steps}"
                raise ConfigError(
                    "longer than the trajectory", key=f"task.{key}", value=getattr(self, key), allowed=allowed
                )
        if 0 < self.generate < 2:
            raise ConfigError("has no spectrum", key="task.generate", value=self.generate, allowed="0, or >= 2")

    @classmethod
    def declares(cls, values: Mapping[str, Any]) -> Mapping[str, Metric]:
        """Nothing where nothing is generated."""
        return {} if values.get("generate") == 0 else cls.metrics

    @property
    def n_inputs(self) -> int:
        """I = 3, or 0."""
        return 3 if self.observed else 0

    @property
    def n_outputs(self) -> int:
        """O = 3."""
        return 3

    @property
    def max_length(self) -> int:
        """T = `length`."""
        return int(self.length)

    @property
    def chance_loss(self) -> float:
        """Variance of the training trajectory, 1 per variable."""
        return 3.0

    @property
    def chance_error(self) -> float:
        """1: no constant comes near the trajectory."""
        return 1.0

    @property
    def worst(self) -> Mapping[str, float]:
        """All generated points where the system never is, and no power that it has."""
        if not self.generate:
            return super().worst
        return {**super().worst, DIVERGENCE: largest_divergence(self._occupied(CPU), _SMOOTHING), SPECTRUM: 1.0}

    def batch(self, draws: Draws) -> Batch:
        """Pieces of the trajectory of the part in `draws`; targets [P, T, B, 3]."""
        data, T = self._part(draws.split, draws.device, draws.dtype), self.max_length
        first = draws.integers(0, int(self.steps) - T - 1, 1, POSITIONS).transpose(1, 2)  # P 1 B
        index = first + torch.arange(T, device=draws.device)[:, None]  # P T B
        inputs = data[index] if self.observed else data.new_zeros(*index.shape, 0)
        return Batch(inputs, data[index + 1], torch.full_like(draws.batch_ids, T))

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the mean squared error per value exceeds `tolerance`, bool [P, B]."""
        limit = float(self.tolerance) * self.n_outputs
        return mean_squared_errors(outputs, batch.targets, row_steps(batch.lengths, self.max_length), limit)

    @property
    def free_steps(self) -> int:
        """`generate`."""
        return int(self.generate)

    def measure_generated(self, outputs: Float[Tensor, "P m B O"]) -> Mapping[str, Shaped[Tensor, " P"]]:
        """Occupation of state space and spectra of what a network makes by itself."""
        device = outputs.device
        edges = self._edges().to(device)
        counts = bin_counts(outputs.flatten(1, 2), edges, _BINS)
        divergence = state_space_divergence(self._occupied(device), counts, _SMOOTHING)
        true = _true_spectrum(float(self.dt), int(self.steps), outputs.shape[1])
        return {DIVERGENCE: divergence, SPECTRUM: spectrum_errors(true, outputs, _WIDTH)}

    def _part(self, split: Split, device: torch.device, dtype: torch.dtype) -> Tensor:
        return _part_on(float(self.dt), int(self.steps), split, device, dtype)

    def _edges(self) -> Tensor:
        data = self._part("valid", CPU, torch.float64)
        return torch.stack([data.min(0).values, data.max(0).values], 1)

    def _occupied(self, device: torch.device) -> Tensor:
        return _occupied_on(self, device)


def trajectory(dt: float, steps: int, start: tuple[float, float, float]) -> np.ndarray:
    """Lorenz's system, float64 [steps, 3]: Runge-Kutta of order 4 with step `dt`; `start` comes first."""
    found, (x, y, z) = [start], start
    for _ in range(steps - 1):
        half = dt / 2
        a, b, c = _slope(x, y, z)
        d, e, f = _slope(x + half * a, y + half * b, z + half * c)
        g, h, i = _slope(x + half * d, y + half * e, z + half * f)
        k, m, n = _slope(x + dt * g, y + dt * h, z + dt * i)
        x += dt / 6 * (a + 2 * d + 2 * g + k)
        y += dt / 6 * (b + 2 * e + 2 * h + m)
        z += dt / 6 * (c + 2 * f + 2 * i + n)
        found.append((x, y, z))
    return np.array(found)


def _slope(x: float, y: float, z: float) -> tuple[float, float, float]:
    return _SIGMA * (y - x), x * (_RHO - z) - y, x * y - _BETA * z


@lru_cache(maxsize=4)
def _parts(dt: float, steps: int) -> dict[Split, np.ndarray]:
    """Standardised trajectories by part, float32 values as float64 [steps, 3]."""
    whole = trajectory(dt, _TRANSIENT + 3 * steps, (1.0, 1.0, 1.0))[_TRANSIENT:]
    first = whole[:steps]
    whole = ((whole - first.mean(0)) / first.std(0)).astype(np.float32).astype(np.float64)
    return {split: whole[i * steps : (i + 1) * steps] for i, split in enumerate(_SPLITS)}


@lru_cache(maxsize=16)
def _part_on(dt: float, steps: int, split: Split, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A part where it is used, so that no mini-batch waits for a copy."""
    return torch.from_numpy(_parts(dt, steps)[split]).to(device, dtype)


@lru_cache(maxsize=16)
def _occupied_on(task: Lorenz63, device: torch.device) -> Tensor:
    points = task._part("valid", CPU, torch.float64)
    return bin_counts(points[None], task._edges(), _BINS)[0].to(device)


@lru_cache(maxsize=16)
def _true_spectrum(dt: float, steps: int, length: int) -> np.ndarray:
    """Spectrum of the validation trajectory, cut into pieces as long as what is generated."""
    data = _parts(dt, steps)["valid"]
    pieces = data[: len(data) // length * length].reshape(-1, length, 3)
    return power_spectrum(pieces, _WIDTH)
