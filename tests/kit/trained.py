"""Trained rows for tests of analyses, and maps of which the values are known."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rnnsweep.core.analyses.trained_rows import TrainedRows
from tests.kit.networks import Setup


def rows_of(setup: Setup | None = None, replicas: Sequence[int] = (0, 1, 2), **changes: torch.Tensor) -> TrainedRows:
    """Random rows; `changes` replaces raw parameters, the same value in every row."""
    pack = (setup or Setup()).pack(list(replicas))
    values = dict(pack.program.layout.view(pack.params))
    for name, value in changes.items():
        values[name] = value.expand_as(values[name]).clone()
    hypers = {name: pack.hypers[f"family.{name}"] for name in pack.program.family.rows}
    hypers |= {name: pack.slots[f"family.{name}"] for name in pack.program.family.slots}
    return TrainedRows(pack.program, values, hypers)


def linear(matrices: torch.Tensor):
    """h <- h M + drive, one matrix per row."""
    return lambda state, drive: state @ matrices + drive


def logistic(rates: Sequence[float]):
    """x <- r x (1 - x), one rate per row."""
    r = torch.tensor(rates)[:, None, None]
    return lambda state, drive: r * state * (1 - state) + 0 * drive


def henon(state: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
    """x <- 1 - 1.4 x^2 + y, y <- 0.3 x."""
    x, y = state[..., :1], state[..., 1:]
    return torch.cat((1 - 1.4 * x * x + y, 0.3 * x), -1) + 0 * drive


def no_drive(rows: int, steps: int, batch: int, size: int) -> torch.Tensor:
    """Drives [P, T, B, D] of a map without input."""
    return torch.zeros(rows, steps, batch, size)


def orthogonal(size: int, seed: int = 0) -> torch.Tensor:
    """A random orthogonal matrix."""
    drawn = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q
