"""How all sweeps of a ledger stand, in four queries that count: for whoever asks every few seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from rnnsweep.adapters.ledger import codec
from rnnsweep.adapters.ledger.schema import cursors, inbox, journal, sweeps, trials
from rnnsweep.adapters.ledger.sql_ledger import SqlLedger
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import SweepView


@dataclass(frozen=True)
class SweepStanding:
    """One sweep.

    Attributes:
        view: as the ledger has it.
        trials: number of trials by state, every state.
        behind: mirror -> journal entries that it has not; mirrors that have written something.
        requests: that wait for a driver.
    """

    view: SweepView
    trials: Mapping[TrialState, int]
    behind: Mapping[str, int] = field(default_factory=dict[str, int])
    requests: int = 0


def standings(ledger: SqlLedger) -> list[SweepStanding]:
    """All sweeps, oldest first.

    Raises:
        StoreError: the ledger is away or damaged.
    """
    rows, states, lags, waiting = ledger.database.read(_read)
    with codec.damage_told(ledger.database.display_url):
        views = {row.id: SweepView(**codec.sweep_fields(row.data, row.name)) for row in rows}
        counted = {(row.sweep, TrialState(row.state)): row.total for row in states}
    behind: dict[int, dict[str, int]] = {}
    for row in lags:
        behind.setdefault(row.sweep, {})[row.mirror] = row.total
    requests = {row.sweep: row.total for row in waiting}
    return [
        SweepStanding(
            view,
            {state: counted.get((key, state), 0) for state in TrialState},
            behind.get(key, {}),
            requests.get(key, 0),
        )
        for key, view in views.items()
    ]


def _read(connection: sa.Connection) -> tuple[Sequence[sa.Row[Any]], ...]:
    all_sweeps = sa.select(sweeps.c.id, sweeps.c.name, sweeps.c.data).order_by(sweeps.c.id)
    states = sa.select(trials.c.sweep, trials.c.state, sa.func.count().label("total"))
    states = states.group_by(trials.c.sweep, trials.c.state)
    newer = sa.and_(journal.c.sweep == cursors.c.sweep, journal.c.seq > cursors.c.seq)
    lags = sa.select(cursors.c.sweep, cursors.c.mirror, sa.func.count(journal.c.seq).label("total"))
    lags = lags.outerjoin(journal, newer).group_by(cursors.c.sweep, cursors.c.mirror)
    waiting = sa.select(inbox.c.sweep, sa.func.count().label("total"))
    waiting = waiting.where(inbox.c.taken.is_(None)).group_by(inbox.c.sweep)
    return tuple(connection.execute(query).all() for query in (all_sweeps, states, lags, waiting))
