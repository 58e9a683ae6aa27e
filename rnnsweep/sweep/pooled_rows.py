"""Rows of several sweeps in one worker: a row's trial has a number of its own in the whole pool.

    sweep's orders ─► widened ─► worker ─► reports, failures ─► narrowed ─► the sweep's driver

A sweep that is alone is number 0: then both numbers of a trial are the same, and nothing is translated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rnnsweep.sweep.rows import AnyRow, Opening, Orders, RowFailure, RowId, narrowed, wide, widened

WHOLE = -1
"""Stands for the replica where a worker says something of a whole sweep, as a failure of one of these kinds."""
CLOSED, MISMATCH, STORE = "closed", "mismatch", "store"
"""All rows have left and the last orders are obeyed; it has other code or data than the driver; its checkpoints' store
is full or away."""


def widened_orders(sweep: int, orders: Orders, opening: Opening | None = None) -> Orders:
    """A sweep's orders for a worker of the pool, which is told of the sweep where `opening` is given."""
    return Orders(
        tuple(widened(sweep, spec) for spec in orders.join),
        tuple(widened(sweep, gone) for gone in orders.leave),
        _widened_keys(sweep, orders.decided),
        _widened_keys(sweep, orders.acknowledged),
        {} if opening is None else {sweep: opening},
        take=tuple(widened(sweep, spec) for spec in orders.take),
    )


def _widened_keys(sweep: int, rungs: Mapping[RowId, int]) -> dict[RowId, int]:
    return {(wide(sweep, trial), replica): rung for (trial, replica), rung in rungs.items()}


def of_sweep(sweep: int, kind: str, reason: str = "") -> RowFailure:
    """What a worker says of a whole sweep."""
    return RowFailure(wide(sweep, 0), WHOLE, "", kind, reason)


def by_sweep(rows: Iterable[AnyRow]) -> dict[int, list[AnyRow]]:
    """Rows of the pool, each under its sweep and by its number within that."""
    found: dict[int, list[AnyRow]] = {}
    for row in rows:
        sweep, own = narrowed(row)
        found.setdefault(sweep, []).append(own)
    return found
