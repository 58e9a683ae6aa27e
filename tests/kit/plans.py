from __future__ import annotations

from typing import Any

from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState

from .ledger import MemoryLedger


def plan(trials: int | None = 6, updates: int = 40, **changes: Any) -> SweepPlan:
    """A small sweep over one number."""
    limits = {key: changes.pop(key) for key in ("wall_s", "device_s", "target") if key in changes}
    given: dict[str, Any] = {
        "name": "s",
        "seed": 1,
        "replicas": 2,
        "report_every": 10,
        "objectives": (Objective("valid/error"),),
        "budget": Budget(trials, updates, **limits),
        "space": Space((Dimension("x", "float", 0.0, 1.0),)),
    }
    return SweepPlan(**{**given, **changes})


def opened(sweep: SweepPlan, ledger: MemoryLedger | None = None) -> tuple[MemoryLedger, int]:
    """A ledger that holds the sweep, and the fence of a driver that has just taken its lock."""
    ledger = ledger or MemoryLedger()
    if ledger.sweep(sweep.name) is None:
        ledger.create(SweepView(sweep.name, SweepState.RUNNING, sweep.config))
    return ledger, ledger.acquire(sweep.name, "test", 0.0)
