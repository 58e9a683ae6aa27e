"""What of a sweep's config its edits have changed: what the ledger tells of them, laid over what was launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnsweep.app.config.store_urls import kept
from rnnsweep.sweep.edits import Entry, newest_pruner, with_entries
from rnnsweep.sweep.plan import SweepPlan


def edited_fields(plan: SweepPlan, pruner: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """Fields of a `SweepConfig` after all edits since the launch.

    The resolved configs stay as they were: they are what trials had that name no value, and what a point is laid over.

    Args:
        plan, pruner: as launched.
        entries: what the ledger tells, oldest first.
    """
    newest = newest_pruner(entries)
    present = dict(pruner if newest is None else newest)
    return {"plan": with_entries(plan, entries), "pruner": present, "edits": tuple(entries)}


def as_driven(resolved: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a point with the budget that was asked for while the sweep ran, and without passwords."""
    added = {"patience": None, "min_delta": 0.0, "repeat": True}  # ledgers of before have none, and repeated points
    budget = {**added, **resolved["budget"], **data.get("budget", {})}
    training = {"data_share": 1.0, **resolved["training"]}
    return {
        "racing": {"level": None, "block": 1},
        **resolved,
        "budget": budget,
        "training": training,
        "store": kept(resolved["store"]),
    }
