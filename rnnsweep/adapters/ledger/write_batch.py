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


class WriteBatch:
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
                self._note("rung", codec.encode(data), write.trial, write.rung)
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
        for table, latest in ((trials, self._trials), (attempts, self._attempts)):
            if latest:
                _put(connection, table, list(latest.values()), replace=True)
        for table, rows in ((reports, self._reports), (verdicts, self._verdicts), (journal, self._journal)):
            if rows:
                _put(connection, table, rows, replace=False)


def _put(connection: sa.Connection, table: sa.Table, rows: list[_Row], replace: bool) -> None:
    """Insert rows; those that are there already are replaced, or left as they are."""
    if connection.dialect.name == "sqlite":  # SQLAlchemy's work per row would cost more than SQLite's own
        text = _sqlite_text(table, tuple(rows[0]), replace)
        connection.exec_driver_sql(text, [tuple(row.values()) for row in rows])
        return
    statement = insert(connection, table)
    if replace:
        changed = {name: statement.excluded[name] for name in _data(table, tuple(rows[0]))}
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement, rows)


@lru_cache(maxsize=16)
def _sqlite_text(table: sa.Table, columns: tuple[str, ...], replace: bool) -> str:
    keys = ", ".join(column.name for column in table.primary_key)
    changed = ", ".join(f"{name} = excluded.{name}" for name in _data(table, columns))
    conflict = f"({keys}) DO UPDATE SET {changed}" if replace else "DO NOTHING"
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT {conflict}"


def _data(table: sa.Table, columns: tuple[str, ...]) -> list[str]:
    """Those of the columns that are not in the primary key."""
    return [name for name in columns if name not in table.primary_key.columns]
