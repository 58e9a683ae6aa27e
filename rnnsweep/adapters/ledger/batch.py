"""The writes of one commit, encoded before the transaction begins and applied table by table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from rnnsweep.adapters.ledger import codec
from rnnsweep.adapters.ledger.schema import attempts, insert, journal, reports, sweeps, trials, verdicts
from rnnsweep.sweep.ports import PutAttempt, PutReports, PutRung, PutSweep, PutTrial, PutVerdict, Write

_Row = dict[str, Any]


class Batch:
    """Rows for every table; of several writes of one thing the last wins, except where the first must.

    Attributes:
        at: time of the commit, seconds since the epoch, on all its journal entries.
    """

    def __init__(self, sweep: int, writes: Sequence[Write], at: float) -> None:
        self._sweep, self._at = sweep, at
        self._sweep_data: str | None = None
        self._trials: dict[int, _Row] = {}
        self._attempts: dict[tuple[int, int], _Row] = {}
        self._reports: list[_Row] = []
        self._verdicts: list[_Row] = []
        self._journal: list[_Row] = []
        for write in writes:
            self._add(write)

    def _add(self, write: Write) -> None:
        match write:
            case PutReports():
                self._add_reports(write)
            case PutRung():
                data = {"step": write.step, "metrics": write.metrics, "values": write.values}
                self._note("rung", codec.encode_flat(data), write.trial, write.rung)
            case PutVerdict():
                row = {"trial": write.trial, "rung": write.rung, "verdict": write.verdict}
                self._verdicts.append({"sweep": self._sweep, **row})
            case PutTrial(view):
                data = codec.encode_trial(view)
                row = {"sweep": self._sweep, "number": view.number, "state": view.state.value, "data": data}
                self._trials[view.number] = row
                self._note("trial", data, view.number)
            case PutAttempt(view):
                row = {"trial": view.trial, "number": view.number, "data": codec.encode_attempt(view)}
                self._attempts[view.trial, view.number] = {"sweep": self._sweep, **row}
            case PutSweep(view):
                self._sweep_data = codec.encode_sweep(view)
                self._note("sweep", codec.encode_sweep_change(view))

    def _add_reports(self, write: PutReports) -> None:
        sweep, add, encode = self._sweep, self._reports.append, codec.encode_report
        for r in write.reports:
            row: _Row = {"sweep": sweep, "trial": r.trial, "rung": r.rung, "replica": r.replica, "step": r.step}
            row["data"] = encode(r)
            add(row)

    def _note(self, kind: str, data: str, trial: int | None = None, rung: int | None = None) -> None:
        row = {"sweep": self._sweep, "kind": kind, "trial": trial, "rung": rung, "at": self._at, "data": data}
        self._journal.append(row)

    def apply(self, connection: sa.Connection) -> None:
        """Write everything; a second time changes nothing but the journal's entries of sweep and trials."""
        if self._sweep_data is not None:
            connection.execute(sweeps.update().where(sweeps.c.id == self._sweep).values(data=self._sweep_data))
        _replace(connection, trials, list(self._trials.values()))
        _replace(connection, attempts, list(self._attempts.values()))
        for table, rows in ((reports, self._reports), (verdicts, self._verdicts), (journal, self._journal)):
            if rows:
                _add_new(connection, table, rows)


def _add_new(connection: sa.Connection, table: sa.Table, rows: list[_Row]) -> None:
    """Insert rows that are not there yet; SQLAlchemy's work per row would cost more than SQLite's own."""
    if connection.dialect.name != "sqlite":
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)
        return
    columns = tuple(rows[0])
    text = _insert_text(table.name, columns)
    connection.exec_driver_sql(text, [tuple(row.values()) for row in rows])


@lru_cache(maxsize=16)
def _insert_text(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"


def _replace(connection: sa.Connection, table: sa.Table, rows: list[_Row]) -> None:
    if rows:
        statement = insert(connection, table)
        keys = [column.name for column in table.primary_key]
        changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)
