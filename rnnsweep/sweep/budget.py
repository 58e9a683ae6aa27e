"""Limits of a sweep: which one has been reached, and how much work is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.plan import Budget, Objective, Racing

LIVE = ("trials", "wall_s", "device_s", "target")
"""Limits that can change while the sweep runs; `updates` is part of what rows were told and changes on resume only."""


@dataclass(slots=True)
class Spent:
    """What a sweep has used up, all sessions together.

    Attributes:
        wall_s: seconds of wall time.
        device_s: seconds of device time, summed over workers.
        updates: row-updates.
    """

    wall_s: float = 0.0
    device_s: float = 0.0
    updates: int = 0


def better(objective: Objective, value: float, than: float) -> bool:
    """Whether `value` is strictly better for this objective's goal."""
    return value > than if objective.goal == "maximize" else value < than


def reached(budget: Budget, objective: Objective, spent: Spent, best: float | None) -> str | None:
    """The limit that ends the sweep now, in words, or None.

    Wall and device time are known after the fact only: they end the sweep after the rungs in progress.

    Example:
        >>> reached(Budget(10, 100, target=0.1), Objective("valid/error"), Spent(), best=0.1)
        'budget.target=0.1 reached'
    """
    # `trials` is missing here: asking stops at it, and the trials that are open then still finish
    # (`machine._check_done`).
    if budget.wall_s is not None and spent.wall_s >= budget.wall_s:
        return f"budget.wall_s={budget.wall_s:g} reached"
    if budget.device_s is not None and spent.device_s >= budget.device_s:
        return f"budget.device_s={budget.device_s:g} reached"
    # "not worse" and not "better": a value exactly at the target has reached it.
    if budget.target is not None and best is not None and not better(objective, budget.target, best):
        return f"budget.target={budget.target:g} reached"
    return None


def check_raised(before: Budget, after: Budget, racing: Racing | None = None) -> None:
    """Refuse a smaller budget: trials that have trained further, or were asked for, would count for nothing.

    Args:
        before, after: limits of then and now.
        racing: of the sweep; with one, `updates` stay as they are.

    Raises:
        ConfigError: a limit is lower than it was, or there was none.
    """
    # not `target`: it only says when to stop, so that any new value leaves the finished trials valid
    for key in ("trials", "updates", "wall_s", "device_s"):
        old, new = getattr(before, key), getattr(after, key)
        if new is not None and (old is None or new < old):
            allowed = "null" if old is None else f"{old:g} or more"
            raise ConfigError("may be raised, nothing else", key=f"budget.{key}", value=new, allowed=allowed)
    if racing is not None and after.updates != before.updates:
        problem = "cannot be changed with racing.level: replicas are compared at their ends"
        raise ConfigError(problem, key="budget.updates", value=after.updates, allowed=f"{before.updates}")
    # rows that ended early would have gone on under another patience: the table would hold trials of two kinds
    for key in ("patience", "min_delta"):
        old, new = getattr(before, key), getattr(after, key)
        if new != old:
            allowed = "null" if old is None else f"{old:g}"
            raise ConfigError("cannot be changed on resume", key=f"budget.{key}", value=new, allowed=allowed)


def change(budget: Budget, limits: Mapping[str, Any]) -> Budget:
    """The budget with some limits replaced.

    Raises:
        ConfigError: a limit that does not exist, or `updates`, which only `resume` may raise.
    """
    for key in limits:
        if key not in LIVE:
            known = [field.name for field in fields(Budget)]
            problem = "can be raised by resume only" if key in known else "unknown limit"
            raise ConfigError(problem, key=f"budget.{key}", allowed=LIVE, hint=nearest(key, LIVE))
    return replace(budget, **limits)
