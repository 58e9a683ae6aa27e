"""What of a sweep's config its edits have changed: what the ledger tells of them, laid over what was launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    kept = dict(pruner if newest is None else newest)
    return {"plan": with_entries(plan, entries), "pruner": kept, "edits": tuple(entries)}
