from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Scalar, SweepPlan
from rnnsweep.sweep.ports import UNINFORMED, Origin, TrialView


class ScriptedSampler:
    """Points from a function of the trial number; prunes where the rule (number, step, value) says so."""

    def __init__(
        self,
        point: Callable[[int], dict[str, Scalar] | None] | None = None,
        rule: Callable[[int, int, float], bool] | None = None,
    ) -> None:
        self.point = point or (lambda number: {"x": (number * 37 % 101) / 101})
        self.rule = rule or (lambda number, step, value: False)
        self.asked: list[int] = []
        self.wants_replicas = False
        self.replicas: dict[int, list[tuple[int, tuple[float, ...]]]] = {}
        self.told: list[TrialView] = []
        self.values: dict[int, list[tuple[int, float]]] = {}
        self.restored: list[TrialView] = []
        self.known: list[dict[str, Scalar]] = []
        self.origin = UNINFORMED
        self.plans: list[SweepPlan] = []

    def warm_start(self, earlier: Sequence[TrialView], offset: int | None = None) -> None: ...

    def enqueue(self, points: Sequence[Mapping[str, Scalar]]) -> None:
        for point in points:
            if set(point) - {"x"}:
                raise ConfigError("not searched", key="enqueue", value=str(point))
        self.known.extend(dict(point) for point in points)

    def edit(self, plan: SweepPlan, pruner: Mapping[str, Any] | None) -> int:
        before, self.plans = len(self.known), [*self.plans, plan]
        self.known = [point for point in self.known if all(key in plan.space.keys for key in point)]
        return before - len(self.known)

    def restore(
        self,
        trials: Sequence[TrialView],
        rungs: Mapping[int, Sequence[tuple[int, float]]],
        replicas: Mapping[int, Sequence[tuple[int, tuple[float, ...]]]] | None = None,
    ) -> None:
        self.replicas = {number: list(values) for number, values in (replicas or {}).items()}
        self.restored = list(trials)
        self.values = {number: list(values) for number, values in rungs.items()}

    def ask(self, number: int) -> dict[str, Scalar] | None:
        assert number not in self.asked, f"trial {number} asked twice"
        self.asked.append(number)
        self.origin = Origin(enqueued=bool(self.known), informed_by=0 if self.known else len(self.told))
        return self.known.pop(0) if self.known else self.point(number)

    def report(self, number: int, step: int, value: float) -> None:
        points = self.values.setdefault(number, [])
        assert not points or points[-1][0] < step, f"trial {number}: step {step} after {points[-1]}"
        points.append((step, value))

    def report_replicas(self, number: int, step: int, values: Sequence[float]) -> None:
        self.replicas.setdefault(number, []).append((step, tuple(values)))

    def prune(self, number: int, step: int) -> bool:
        last, value = self.values[number][-1]
        assert last == step
        return self.rule(number, step, value)

    def tell(self, view: TrialView) -> None:
        assert view.state.finished
        self.told.append(view)
