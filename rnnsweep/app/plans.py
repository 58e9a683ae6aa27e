"""The plan of a sweep that is in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnsweep.sweep.plan import SweepPlan

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView


def plan_of(view: SweepView) -> SweepPlan:
    """What the sweep was asked to do, as its driver last wrote it."""
    from rnnsweep.app.config import from_json

    return from_json(view.config).plan
