"""A trial's run as the tracker sees it between two writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnsweep.adapters.mlflow.points import Point

FIRST = "objective"
"""The metric that a run gets first."""


@dataclass
class Child:
    """A child run, and what is to be written into it next.

    Attributes:
        run_id: MLflow's.
        base_ms: start of the run, ms since the epoch; a point's timestamp is this plus its step.
        keys: metric keys that the run has, or will have with `points`.
        points, params, tags: to be written.
        last: step and values of the newest rung.
        ended: status and time (ms since the epoch) to be written once it has ended.
        status: that MLflow has.
    """

    run_id: str
    base_ms: int
    keys: set[str]
    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    last: tuple[int, Mapping[str, float]] | None = None
    ended: tuple[str, int] | None = None
    status: str = ""

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Queue finite values at a step."""
        finite = [(key, float(value)) for key, value in metrics.items() if math.isfinite(value)]
        finite.sort(key=lambda item: item[0] != FIRST)  # the UI compares by the metric that was written first
        self.points.extend((key, value, self.base_ms + step, step) for key, value in finite)
        self.keys.update(key for key, _ in finite)
