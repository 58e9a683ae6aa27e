"""All cells of the grid, in order: the trial's number is the cell's index."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rnnsweep.adapters.optuna.cube import exact
from rnnsweep.adapters.optuna.samplers.base import Ask, SamplerUnit
from rnnsweep.sweep.plan import SpaceVersion, SweepPlan
from rnnsweep.sweep.space import completed
from rnnsweep.sweep.tried_points import point_key


@dataclass(frozen=True)
class Grid(SamplerUnit):
    """Every cell once; needs choices or stepped ranges everywhere.

    Enqueued points take no cell away: a trial's cell is its number among the trials that were not enqueued. Where the
    space is edited, its cells that were not asked for come next, in their order.
    """

    several_objectives: ClassVar[bool] = True
    _walk: list[Iterator[dict[str, Any]]] = field(default_factory=list, init=False, repr=False, compare=False)
    _seen: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    def check_plan(self, plan: SweepPlan) -> None:
        """`ConfigError` names the first dimension without cells."""
        for dimension in plan.space:
            dimension.count()

    def propose(self, ask: Ask) -> dict[str, Any] | None:
        """The trial's cell, or None beyond the last."""
        index = ask.number - ask.enqueued
        if not self._walk:
            self._walk.append(_cells(ask.stages or ((0, SpaceVersion(0, 0, ask.space)),)))
        self._seen.extend(itertools.islice(self._walk[0], max(0, index + 1 - len(self._seen))))  # only as far as used
        if not 0 <= index < len(self._seen):
            return None
        cell = self._seen[index]
        return {d.key: exact(d, cell[d.key]) for d in ask.space if d.key in cell}


def _cells(stages: tuple[tuple[int, SpaceVersion], ...]) -> Iterator[dict[str, Any]]:
    """All cells in the order of their trials: of each version those that the ones before it have not had."""
    asked = set[str]()
    ends = [*(begin for begin, _ in stages[1:]), None]
    for (begin, version), end in zip(stages, ends, strict=True):
        fresh = (cell for cell in version.space.grid() if _key(cell, version, stages) not in asked)
        for cell in itertools.islice(fresh, None if end is None else end - begin):
            if len(stages) > 1:  # of one space each cell comes once
                asked.add(_key(cell, version, stages))
            yield cell


def _key(cell: dict[str, Any], version: SpaceVersion, stages: tuple[tuple[int, SpaceVersion], ...]) -> str:
    return point_key(completed(version.pins, cell), stages[-1][1].defaults)
