"""A made-up sweep of any size: complete, pruned and failed trials with curves, as the ledger's journal has them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rnnsweep.core.metrics.names import WORKER_METRICS
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import Change, TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState, TrialState

SWEEP = "temporal-order"
STARTED, UPDATES, EVERY = 1.7e9, 6000, 600
SPACE = Space(
    (
        Dimension("controllers.clip.threshold", "float", 0.3, 6.0, log=True),
        Dimension("controllers.omega.weight", "categorical", choices=(0.0, 0.5, 1.0, 2.0, 4.0)),
        Dimension("controllers.sampling.q_max", "categorical", choices=(2.0, float("inf"))),
        Dimension("init.sigma", "float", 0.05, 0.3, log=True),
    )
)


def plan(children: int) -> SweepPlan:
    """The plan of the made-up sweep."""
    objective = Objective("valid/error", worst=1.0)
    return SweepPlan(SWEEP, 0, 3, EVERY, (objective,), Budget(children, UPDATES), SPACE, config={"seed": 0})


def journal(children: int) -> list[Change]:
    """Journal entries of a whole sweep; every sixth trial is pruned, every twentieth fails."""
    rng = np.random.default_rng(children)
    found: list[Change] = []

    def add(kind: str, trial: int | None, at: float, data: dict[str, object]) -> None:
        found.append(Change(len(found) + 1, kind, trial, at, data))

    add("sweep", None, STARTED, {"name": SWEEP, "state": SweepState.RUNNING})
    for number in range(children):
        _trial(rng, number, add)
    add("sweep", None, STARTED + 60 * children, {"name": SWEEP, "state": SweepState.COMPLETE})
    return found


def _trial(rng: np.random.Generator, number: int, add) -> None:
    weight = SPACE.dimensions[1].choices[int(rng.integers(5))]
    params = {
        "controllers.clip.threshold": float(math.exp(rng.uniform(math.log(0.3), math.log(6)))),
        "controllers.omega.weight": weight,
        "controllers.sampling.q_max": (2.0, math.inf)[int(rng.integers(2))],
        "init.sigma": float(math.exp(rng.uniform(math.log(0.05), math.log(0.3)))),
    }
    began = STARTED + 10.0 * number
    state = "FAILED" if number % 20 == 19 else "PRUNED" if number % 6 == 5 else "COMPLETE"
    last = {"FAILED": 0, "PRUNED": 3, "COMPLETE": UPDATES // EVERY}[state]
    end = float(rng.uniform(0.001, 0.009)) if weight > 0 else float(rng.uniform(0.4, 0.7))
    error = 0.75

    def view(now: str, **more: object) -> dict[str, object]:
        made = TrialView(number, TrialState(now), params, started=began, attempts=1, worker="w0", engine="cpu", **more)
        return {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}

    add("trial", number, began, view("RUNNING"))
    for rung in range(1, last + 1):
        error = 0.75 + (end - 0.75) * rung / (UPDATES // EVERY)
        metrics = dict.fromkeys(WORKER_METRICS, 0.1 * rung) | {"valid/error": error, "objective": error}
        add("rung", number, began + rung, {"rung": rung, "step": rung * EVERY, "metrics": metrics, "values": [error]})
    values = () if state == "FAILED" else (error,)
    solved = UPDATES if state == "COMPLETE" and weight > 0 else None
    reason = {"FAILED": "bug: ValueError", "PRUNED": "pruned at update 1800", "COMPLETE": ""}[state]
    done = view(state, values=values, step=last * EVERY, solved_at=solved, reason=reason, finished=began + 60)
    add("trial", number, began + 60, done)
