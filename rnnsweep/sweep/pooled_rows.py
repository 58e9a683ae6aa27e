"""Rows of several sweeps in one worker: a row's trial has a number of its own in the whole pool.

    sweep's orders ─► widened ─► worker ─► reports, failures ─► narrowed ─► the sweep's driver

A sweep that is alone is number 0: then both numbers of a trial are the same, and nothing is translated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from rnnsweep.sweep.rows import Opening, Orders, RowFailure, RowId, RowReport, RowSpec, Withdrawal

TRIAL_BITS = 32
"""Trials of one sweep have numbers below 2 to this power."""

ALONE = 0
"""The number of a sweep that shares its workers with none."""

WHOLE = -1
"""Stands for the replica where a worker says something of a whole sweep, as a failure of one of these kinds."""
CLOSED, MISMATCH, STORE = "closed", "mismatch", "store"
"""All rows have left and the last orders are obeyed; it has other code or data than the driver; its checkpoints' store
is full or away."""

AnyRow = TypeVar("AnyRow", RowSpec, RowReport, RowFailure, Withdrawal)


def wide(sweep: int, trial: int) -> int:
    """A trial's number in the pool.

    Example:
        >>> wide(0, 7), owner_of(wide(3, 7))
        (7, (3, 7))
    """
    return sweep << TRIAL_BITS | trial


def owner_of(number: int) -> tuple[int, int]:
    """Number of the sweep, and of the trial within it."""
    return number >> TRIAL_BITS, number & ((1 << TRIAL_BITS) - 1)


def widened(sweep: int, row: AnyRow) -> AnyRow:
    """The same by its number in the pool."""
    return replace(row, trial=wide(sweep, row.trial)) if sweep else row


def narrowed(row: AnyRow) -> tuple[int, AnyRow]:
    """The sweep whose it is, and the same by its number within that."""
    sweep, trial = owner_of(row.trial)
    return sweep, replace(row, trial=trial) if sweep else row


def widened_orders(sweep: int, orders: Orders, opening: Opening | None = None) -> Orders:
    """A sweep's orders for a worker of the pool, which is told of the sweep where `opening` is given."""
    return Orders(
        tuple(widened(sweep, spec) for spec in orders.join),
        tuple(widened(sweep, gone) for gone in orders.leave),
        _widened_keys(sweep, orders.decided),
        _widened_keys(sweep, orders.acknowledged),
        {} if opening is None else {sweep: opening},
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
