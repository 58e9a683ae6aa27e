"""How many rows each sweep may have on each worker of a pool: by priority, then by weight, within limits.

Free places are given out one trial's rows at a time, always to the sweep that has fewest for its weight (half of the
next trial counted: Webster's rule, which favours neither heavy nor light ones); so each sweep gets some before any gets
more than its share, and what one cannot use goes to the others. What whole rows cost a sweep on one worker, it is owed
on the next.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Most rows at once in the whole pool, of one sweep and of all sweeps of one user; None: no limit."""

    sweep: int | None = None
    user: int | None = None


@dataclass(frozen=True)
class Claim:
    """What a sweep asks of a pool.

    Attributes:
        number: of the sweep in the pool.
        rows: most rows that it can use at once; None: as many as there is room for.
        replicas: rows of one trial, which are best together.
        weight, priority, user: see `rnnsweep.service.front.Submission`.
        barred: workers that it is not to use.
    """

    number: int
    rows: int | None = None
    replicas: int = 1
    weight: float = 1.0
    priority: int = 0
    user: str = ""
    barred: frozenset[str] = frozenset()


Slots = dict[str, dict[int, int]]
"""Rows by worker and sweep."""


def fair_slots(workers: Mapping[str, int], claims: Sequence[Claim], limits: Limits | None = None) -> Slots:
    """Rows of each sweep on each worker; sweeps that get none on a worker have 0 there.

    Args:
        workers: places for rows, by worker.
        claims: of the sweeps; those that came first come first among equals.
        limits: see `Limits`.

    Example:
        >>> fair_slots({"a": 8}, [Claim(1, weight=1.0), Claim(2, weight=3.0)])
        {'a': {1: 2, 2: 6}}
        >>> fair_slots({"a": 8}, [Claim(1, rows=6, priority=1), Claim(2)])
        {'a': {1: 6, 2: 2}}
    """
    limits = limits or Limits()
    given: Counter[int] = Counter()  # in the whole pool
    users: Counter[str] = Counter()
    owed = {claim.number: 0.0 for claim in claims}
    slots: Slots = {}
    for left, (worker, room) in zip(range(len(workers), 0, -1), workers.items(), strict=True):
        # what is left of each limit is spread evenly over the workers that are left
        most = {claim.number: _most(claim, given, limits, left) for claim in claims}
        share = {user: _spread(limits.user, users[user], left) for user in {claim.user for claim in claims}}
        allowed = [claim for claim in claims if worker not in claim.barred]
        here = _fill(room, allowed, most, share, owed)
        _keep_account(owed, allowed, here)
        slots[worker] = {claim.number: here[claim.number] for claim in claims}
        given += here
        for claim in claims:
            users[claim.user] += here[claim.number]
    return slots


def _most(claim: Claim, given: Counter[int], limits: Limits, left: int) -> float:
    """Rows of one sweep on the next of `left` workers."""
    wanted = _spread(claim.rows, given[claim.number], left)
    # whole trials, so that the last one does not lack a place for one of its replicas
    wanted = math.ceil(wanted / claim.replicas) * claim.replicas if wanted < math.inf else wanted
    return min(wanted, _spread(limits.sweep, given[claim.number], left))


def _spread(limit: int | None, given: int, left: int) -> float:
    return math.inf if limit is None else math.ceil(max(0, limit - given) / left)


def _keep_account(owed: dict[int, float], claims: Sequence[Claim], here: Counter[int]) -> None:
    """Note by how much each has missed its part of one worker, up to a trial: what limits took is owed to nobody."""
    for priority in {claim.priority for claim in claims}:
        equals = [claim for claim in claims if claim.priority == priority]
        per_weight = sum(here[claim.number] for claim in equals) / sum(claim.weight for claim in equals)
        for claim in equals:
            missed = owed[claim.number] + claim.weight * per_weight - here[claim.number]
            owed[claim.number] = max(-claim.replicas, min(claim.replicas, missed))


def _fill(
    room: int,
    claims: Sequence[Claim],
    most: Mapping[int, float],
    share: Mapping[str, float],
    owed: Mapping[int, float],
) -> Counter[int]:
    """One worker's places, the highest priority first."""
    here: Counter[int] = Counter()
    users: Counter[str] = Counter()
    for priority in sorted({claim.priority for claim in claims}, reverse=True):
        waiting = [claim for claim in claims if claim.priority == priority]

        def standing(one: Claim) -> tuple[bool, float, int]:
            """Who has none comes first; then who has least for its weight."""
            had = here[one.number]
            return had > 0, (had + one.replicas / 2 - owed[one.number]) / one.weight, one.number

        while waiting:
            claim = min(waiting, key=standing)
            unit = claim.replicas
            free = min(room, most[claim.number] - here[claim.number], share[claim.user] - users[claim.user])
            # where not even one trial fits, its replicas are spread: a part of it is better than nothing
            taken = unit if free >= unit else 0 if here[claim.number] else int(max(0, free))
            if not taken:
                waiting.remove(claim)
                continue
            here[claim.number] += taken
            users[claim.user] += taken
            room -= taken
    return here
