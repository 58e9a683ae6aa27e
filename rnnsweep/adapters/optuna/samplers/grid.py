"""All cells of the grid, in order: the trial's number is the cell's index."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rnnsweep.adapters.optuna.cube import exact
from rnnsweep.adapters.optuna.samplers.base import Ask, SamplerUnit
from rnnsweep.sweep.plan import SweepPlan


@dataclass(frozen=True)
class Grid(SamplerUnit):
    """Every cell once; needs choices or stepped ranges everywhere.

    Enqueued points take no cell away: a trial's cell is its number among the trials that were not enqueued.
    """

    several_objectives: ClassVar[bool] = True
    _walk: list[Iterator[dict[str, Any]]] = field(default_factory=list, init=False, repr=False, compare=False)
    _seen: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    def check_plan(self, plan: SweepPlan) -> None:
        """`ConfigError` names the first dimension without cells."""
        for dimension in plan.space:
            dimension.cells()

    def propose(self, ask: Ask) -> dict[str, Any] | None:
        """The trial's cell, or None beyond the last."""
        index = ask.number - ask.enqueued
        if not self._walk:
            self._walk.append(ask.space.grid())
        self._seen.extend(itertools.islice(self._walk[0], max(0, index + 1 - len(self._seen))))  # only as far as used
        if not 0 <= index < len(self._seen):
            return None
        cell = self._seen[index]
        return {d.key: exact(d, cell[d.key]) for d in ask.space if d.key in cell}
