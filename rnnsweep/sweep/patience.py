"""Early stopping of a row whose objective has not improved for so many evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.objective import SOLVED_AT
from rnnsweep.sweep.plan import SweepPlan


@dataclass(frozen=True)
class Standing:
    """How a row stands: all that the next decision needs, and that its checkpoint keeps.

    Attributes:
        best: best value so far; None before the first.
        since: evaluations since then that were no better.
    """

    best: float | None = None
    since: int = 0


@dataclass(frozen=True)
class Patience:
    """When a row has had its chances; decided from the values that it reports, and so the same after any interruption.

    Attributes:
        metric, goal: see `Objective`.
        evaluations: this many without an improvement end the row, >= 1.
        min_delta: an improvement is one by more than this, >= 0, in the metric's own units.

    Example:
        >>> patience, standing = Patience("valid/loss", "minimize", 2), Standing()
        >>> for loss in (1.0, 0.9, 0.95, 0.9):
        ...     standing = patience.after(standing, {"valid/loss": loss})
        >>> standing, patience.exhausted(standing)
        (Standing(best=0.9, since=2), True)
    """

    metric: str
    goal: str
    evaluations: int
    min_delta: float = 0.0

    def after(self, standing: Standing, metrics: Mapping[str, float]) -> Standing:
        """The standing after a rung; one without the metric was not evaluated, and changes nothing."""
        value = metrics.get(self.metric)
        if value is None:
            return standing
        if standing.best is None or self._gain(value, standing.best) > self.min_delta:
            return Standing(value)
        return Standing(standing.best, standing.since + 1)

    def _gain(self, value: float, best: float) -> float:
        return value - best if self.goal == "maximize" else best - value

    def exhausted(self, standing: Standing) -> bool:
        """Whether the row ends."""
        return standing.since >= self.evaluations


def patience_of(plan: SweepPlan) -> Patience | None:
    """That of a sweep; None where rows train to their budget.

    Raises:
        ConfigError: its objective cannot be waited for.
    """
    evaluations, objective = plan.budget.patience, plan.objectives[0]
    if evaluations is None:
        return None
    if len(plan.objectives) > 1:
        problem = "waits for one objective, and there are several"
        raise ConfigError(problem, key="budget.patience", value=evaluations, allowed="null")
    if objective.metric == SOLVED_AT or objective.reduce == "solved_share":
        what = objective.metric if objective.metric == SOLVED_AT else objective.reduce
        problem = f"waits for an improvement, and {what} has none before it is there"
        allowed = "null, or an objective that is measured at each evaluation"
        raise ConfigError(problem, key="budget.patience", value=evaluations, allowed=allowed)
    return Patience(objective.metric, objective.goal, evaluations, plan.budget.min_delta)


def stalled(plan: SweepPlan, replicas: list[int]) -> str:
    """Why a trial's replicas ended early, for its record; empty where none did.

    Example:
        >>> from rnnsweep.sweep.plan import Budget, Objective
        >>> from rnnsweep.sweep.space import Space
        >>> stalled(SweepPlan("s", 0, 3, 10, (Objective("valid/loss"),), Budget(1, 9, patience=4), Space()), [0, 2])
        'no improvement of valid/loss in 4 evaluations: replicas 0, 2'
    """
    if not replicas:
        return ""
    count, some = plan.budget.patience, plan.replicas > 1
    reason = f"no improvement of {plan.objectives[0].metric} in {count} evaluation{'s' * (count != 1)}"
    if not some or len(replicas) == plan.replicas:
        return reason
    return f"{reason}: replica{'s' * (len(replicas) > 1)} {', '.join(map(str, replicas))}"
