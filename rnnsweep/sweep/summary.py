"""Which trials are best: one rule for everything that says so.

The objective decides; among equal objectives who solved the task earlier, among those the lower number. Tables, the
live display, the report, MLflow's note and MLflow's order all use `rank`, and say how many others tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rnnsweep.sweep.objective import SOLVED_AT
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView


class Rank(NamedTuple):
    """What sorts complete trials, best first.

    Attributes:
        loss: the objective, signed so that less is better.
        solved_at: update at which the trial solved its task; infinite where it did not.
        number: trial number.
    """

    loss: float
    solved_at: float
    number: int


def rank(objective: Objective, value: float, solved_at: float | None, number: int) -> Rank:
    """The rank of a complete trial by one objective.

    Example:
        >>> rank(Objective("e"), 0.0, 90, 7) < rank(Objective("e"), 0.0, None, 2) < rank(Objective("e"), 0.5, 10, 0)
        True
    """
    loss = -value if objective.goal == "maximize" else value
    # + 0.0 turns the -0.0 of a maximised 0 into 0.0, which prints as its equals do
    return Rank(loss + 0.0, math.inf if solved_at is None else float(solved_at), number)


def unsolved(
    objective: Objective, value: float | None, solved_at: float | None, updates: int, missing: int = 0
) -> bool:
    """Whether an objective is a time to solve that has not come, or a mean of times not all of which have.

    Then the true one is larger than its value, in which whoever has not solved counts as the budget.

    Args:
        objective: what is pursued.
        value: the trial's; None: it has none.
        solved_at: the trial's, see `TrialView`.
        updates: what an unsolved replica scores, the budget.
        missing: replicas that did not solve the task.

    Example:
        >>> time = Objective("solved_at")
        >>> unsolved(time, 2000.0, None, 2000), unsolved(time, 800.0, 800, 2000)
        (True, False)
        >>> unsolved(Objective("solved_at", reduce="mean"), 1250.0, 500, 2000, missing=1)
        True
        >>> unsolved(Objective("valid/error"), 0.5, None, 2000)
        False
    """
    if objective.metric != SOLVED_AT or objective.reduce == "solved_share" or value is None:
        return False
    # `best` knows a time from the first replica on, a median once half of the replicas have, a mean when all have
    if objective.reduce == "best":
        return value >= updates and solved_at is None
    return solved_at is None or (objective.reduce == "mean" and missing > 0)


@dataclass(frozen=True)
class Best:
    """The best trial so far.

    Attributes:
        rank: its rank.
        value: its objective.
        tied: how many others have the same objective.
        alike: how many of those solved the task at the same update too, or did not either.
        unsolved: the value is only what the true one is larger than, see `unsolved`.
    """

    rank: Rank
    value: float
    tied: int = 0
    alike: int = 0
    unsolved: bool = False

    @property
    def number(self) -> int:
        """Trial number."""
        return self.rank.number

    def __str__(self) -> str:
        """In words, ties said.

        Example:
            >>> str(Best(Rank(0.0, 90.0, 7), 0.0, 2))
            'trial 7, objective 0 (2 others tie; it solved first)'
        """
        text = f"trial {self.number}, objective {self.value:.6g}"
        return f"{text} ({self.ties()})" if self.tied else text

    def ties(self) -> str:
        """How many others have the same objective, and what put this one first.

        Example:
            >>> Best(Rank(0.0, 90.0, 7), 0.0, 2, 1).ties()
            '2 others tie, 1 of them solved at update 90 too; it has the lowest number'
        """
        others = "1 other ties" if self.tied == 1 else f"{self.tied} others tie"
        if not math.isfinite(self.rank.solved_at):
            return f"{others}, unsolved as it is; it has the lowest number"
        if not self.alike:
            return f"{others}; it solved first"
        who = "" if self.tied == 1 else "all " if self.alike == self.tied else f"{self.alike} of them "
        return f"{others}, {who}solved at update {self.rank.solved_at:.0f} too; it has the lowest number"


def best_of(best: Best | None, rank: Rank, value: float, unsolved: bool = False) -> Best:
    """The best trial after one more has ended."""
    if best is None:
        return Best(rank, value, unsolved=unsolved)
    # ties are counted by the objective alone, though the rank breaks them: who reads "best" should know how many are
    # equal
    tie = rank.loss == best.rank.loss
    same = rank[:2] == best.rank[:2]
    if rank < best.rank:
        return Best(rank, value, best.tied + 1 if tie else 0, best.alike + 1 if same else 0, unsolved)
    return replace(best, tied=best.tied + tie, alike=best.alike + same)


def ranked(trials: Iterable[TrialView], objectives: Sequence[Objective], index: int = 0) -> list[TrialView]:
    """COMPLETE trials by one objective, best first.

    Example:
        >>> ranked([TrialView(0, TrialState.COMPLETE, {}, (2.0,)), TrialView(1, TrialState.COMPLETE, {}, (1.0,))],
        ...        [Objective("valid/error")])[0].number
        1
    """
    complete = [view for view in trials if view.state is TrialState.COMPLETE and len(view.values) > index]
    goal = objectives[index]
    return sorted(complete, key=lambda view: rank(goal, view.values[index], view.solved_at, view.number))


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
    # equal points do not dominate each other: both are on the front
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
