"""Rows that take over the state of another one, from its checkpoint."""

from __future__ import annotations

from rnnsweep.app.worker.open_sweeps import OpenSweep
from rnnsweep.core.pack import RowSnapshot, taken_over
from rnnsweep.errors import SourceError
from rnnsweep.sweep.rows import Orders, RowSpec, Source


def state_of(sweep: OpenSweep, source: Source) -> RowSnapshot:
    """What another row goes on from: what this one had after that very rung, never after an earlier one.

    Raises:
        SourceError: no attempt has a checkpoint of it that can be read.
    """
    for token in source.tokens:
        folder = sweep.folder(source.trial, source.replica, token)
        if source.rung not in sweep.store.rungs(folder):
            continue
        saved = sweep.store.newest([folder], source.rung)
        # a torn one falls back to the rung before, which is another state
        if saved is not None and saved.state.rung == source.rung:
            return taken_over(saved.state)
    raise SourceError(source.trial, source.replica, source.rung)


def revoked(spec: RowSpec, orders: Orders) -> bool:
    """Whether a row that was to take over a state is withdrawn."""
    return any(gone.key == spec.key for gone in orders.leave)
