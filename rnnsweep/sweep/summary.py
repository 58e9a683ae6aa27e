"""Which trials are best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.states import TrialState


def ranked(trials: Iterable[TrialView], objectives: Sequence[Objective], index: int = 0) -> list[TrialView]:
    """COMPLETE trials by one objective, best first; who solved earlier wins a tie, then the lower number.

    Example:
        >>> ranked([TrialView(0, TrialState.COMPLETE, {}, (2.0,)), TrialView(1, TrialState.COMPLETE, {}, (1.0,))],
        ...        [Objective("valid/error")])[0].number
        1
    """
    sign = -1.0 if objectives[index].goal == "maximize" else 1.0
    complete = [view for view in trials if view.state is TrialState.COMPLETE and len(view.values) > index]
    return sorted(complete, key=lambda view: (sign * view.values[index], _solved(view), view.number))


def _solved(view: TrialView) -> float:
    return math.inf if view.solved_at is None else view.solved_at


def best(trials: Iterable[TrialView], objectives: Sequence[Objective]) -> TrialView | None:
    """The best COMPLETE trial by the first objective, None while there is none."""
    order = ranked(trials, objectives)
    return order[0] if order else None


def pareto(trials: Iterable[TrialView], objectives: Sequence[Objective]) -> list[TrialView]:
    """COMPLETE trials that no other one beats in every objective, by number."""
    signs = [-1.0 if objective.goal == "maximize" else 1.0 for objective in objectives]
    points = [
        (tuple(sign * value for sign, value in zip(signs, view.values, strict=True)), view)
        for view in trials
        if view.state is TrialState.COMPLETE and len(view.values) == len(signs)
    ]
    front = [view for point, view in points if not any(_dominates(other, point) for other, _ in points)]
    return sorted(front, key=lambda view: view.number)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
