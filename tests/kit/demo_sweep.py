"""A made-up sweep for trackers, without the library of any: its plan, and the journal that a ledger would have."""

from __future__ import annotations

import dataclasses

from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import Change, SweepView, TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState, TrialState

SPACE = Space(
    (
        Dimension("controllers.clip.threshold", "float", 0.1, 10.0, log=True),
        Dimension("family.activation", "categorical", choices=("tanh", None, True)),
    )
)
KEYS = ("train/loss", "valid/error", "omega/value", "solved_at", "objective")
PARAMS = {"controllers.clip.threshold": 0.5, "family.activation": None}
STARTED = 1_700_000_000.25
VIEW = SweepView("demo", SweepState.RUNNING, {}, created=STARTED - 5)


def make_plan(**changes):
    plan = SweepPlan(
        "demo",
        7,
        2,
        10,
        (Objective("valid/error", worst=1.0),),
        Budget(10, 100),
        SPACE,
        config={"controllers": {"clip": {"threshold": 1.0}}, "seed": 7},
        overrides=("seed=7",),
    )
    return dataclasses.replace(plan, **changes)


class Journal:
    """Writes changes as the ledger does."""

    def __init__(self):
        self.changes = []

    def add(self, kind, trial, data):
        self.changes.append(Change(len(self.changes) + 1, kind, trial, 1.7e9 + len(self.changes), data))

    def sweep(self, state):
        self.add("sweep", None, {"name": "demo", "state": SweepState(state)})

    def trial(self, number, state, values=(), params=PARAMS, **more):
        started = None if state == "WAITING" and not more.get("attempts") else STARTED + number
        view = TrialView(number, TrialState(state), params, values, started=started, **more)
        self.add("trial", number, {f.name: getattr(view, f.name) for f in dataclasses.fields(view)})

    def rung(self, number, rung, error):
        metrics = {"train/loss": error * 2, "valid/error": error, "objective": error}
        self.add("rung", number, {"rung": rung, "step": rung * 10, "metrics": metrics, "values": [error]})


def story(rungs=10):
    """Complete, pruned, failed before its first rung, and failed then run again."""
    journal = Journal()
    journal.sweep("RUNNING")
    for number in range(4):
        journal.trial(number, "WAITING")
        journal.trial(number, "RUNNING", worker=f"w{number}")
    for rung in range(1, rungs + 1):
        journal.rung(0, rung, 0.5 / rung)
    journal.trial(0, "COMPLETE", (0.5 / rungs,), step=10 * rungs, solved_at=90, finished=STARTED + 60, engine="cpu")
    journal.rung(1, 1, 0.9)
    journal.trial(1, "PRUNED", (0.9,), step=10, reason="pruned at update 10", finished=STARTED + 61)
    journal.trial(2, "FAILED", step=0, reason="bug", finished=STARTED + 62)
    journal.rung(3, 1, 0.8)
    journal.trial(3, "FAILED", step=10, reason="lost", finished=STARTED + 63)
    journal.trial(3, "WAITING", attempts=1)
    journal.trial(3, "RUNNING", attempts=2)
    journal.rung(3, 2, 0.01)
    journal.trial(3, "COMPLETE", (0.01,), step=20, attempts=2, finished=STARTED + 64)
    journal.sweep("COMPLETE")
    return journal.changes
