"""Which sweep kills the workers that it shares: suspects get a worker to themselves, where its driver finds the row.

A driver isolates a row that kills its worker by bisection (`failures`), as long as the worker is the sweep's own. Where
rows of several sweeps die together again and again, each of those sweeps is suspected until its rows have got on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rnnsweep.sweep.policy import DEFAULT, Policy
from rnnsweep.sweep.rows import RowId

GIVEN_UP = 10
"""So many rungs of others for each suspected row that does not come back: its trial has ended, or waits in line."""


class Suspects:
    """Counts how often sweeps died together, and forgets it as they get on."""

    def __init__(self, policy: Policy = DEFAULT) -> None:
        self._policy = policy
        self._strikes: dict[int, int] = {}
        self._rungs: dict[int, dict[RowId, int]] = {}  # of suspected rows, since the loss
        self._others: dict[int, int] = {}  # rungs of other rows of the sweep since then

    def died(self, rows: Mapping[int, Collection[RowId]]) -> None:
        """A worker is gone with these rows, by sweep; one sweep's own worker is its driver's matter."""
        if len(rows) < 2:
            # alone: nothing new is known of who else is to blame, but what it lost has to get on again
            rows = {sweep: lost for sweep, lost in rows.items() if sweep in self._strikes}
        else:
            for sweep in rows:
                self._strikes[sweep] = self._strikes.get(sweep, 0) + 1
        for sweep, lost in rows.items():
            self._rungs.setdefault(sweep, {}).update(dict.fromkeys(lost, 0))
            self._others[sweep] = 0

    def trained(self, sweep: int, rows: Collection[RowId]) -> None:
        """Rows of a sweep have got on by a rung."""
        waiting = self._rungs.get(sweep)
        if waiting is None:
            return
        for row in rows:
            if row not in waiting:
                self._others[sweep] += 1
                continue
            waiting[row] += 1
            if waiting[row] >= self._policy.progress:
                del waiting[row]
        if not waiting or self._others[sweep] >= GIVEN_UP * len(waiting):
            self.forget(sweep)

    def forget(self, sweep: int) -> None:
        """Cleared, or gone."""
        for known in (self._strikes, self._rungs, self._others):
            known.pop(sweep, None)

    @property
    def suspected(self) -> list[int]:
        """Sweeps that must not share a worker, in the order in which they get one."""
        return [sweep for sweep, strikes in self._strikes.items() if strikes >= self._policy.strikes]

    def barred(self, workers: Sequence[str], sweeps: Collection[int]) -> dict[int, frozenset[str]]:
        """Workers that each sweep is not to use: the first suspect gets the first one alone, the others wait."""
        first, *later = [*(sweep for sweep in self.suspected if sweep in sweeps), None]
        if first is None or not workers:
            return {}
        own, rest = frozenset(workers[:1]), frozenset(workers[1:])
        waiting = frozenset(workers)
        return {sweep: rest if sweep == first else waiting if sweep in later else own for sweep in sweeps}
