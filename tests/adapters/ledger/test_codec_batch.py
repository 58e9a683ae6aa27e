"""The writes of one commit, as rows of tables."""

from __future__ import annotations

import sqlalchemy as sa

from rnnsweep.adapters.ledger import codec, schema
from rnnsweep.adapters.ledger.codec import WriteBatch
from rnnsweep.sweep.ports import (
    AttemptView,
    PutAttempt,
    PutReports,
    PutRung,
    PutSweep,
    PutTrial,
    PutVerdict,
    SweepView,
    TrialView,
)
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import SweepState, TrialState


def database() -> sa.Connection:
    connection = sa.create_engine("sqlite://").connect()
    schema.metadata.create_all(connection)
    connection.execute(schema.sweeps.insert().values(id=1, name="s", data="{}"))
    return connection


def rows(connection: sa.Connection, table: sa.Table) -> list:
    return list(connection.execute(sa.select(table).order_by(*table.primary_key)).all())


def report(rung: int, loss: float = 1.0) -> RowReport:
    return RowReport(0, 0, "t", rung, 10 * rung, {"loss": loss})


def test_of_several_trials_of_one_number_the_last_counts_and_all_are_journalled() -> None:
    connection = database()
    waiting, running = (TrialView(0, state, {"x": 1.0}) for state in (TrialState.WAITING, TrialState.RUNNING))
    attempts = [PutAttempt(AttemptView(0, "t", 1, 5.0, outcome=outcome)) for outcome in ("", "complete")]
    WriteBatch(1, [PutTrial(waiting), PutTrial(running), *attempts], 7.0).apply(connection)
    [trial] = rows(connection, schema.trials)
    assert (trial.number, trial.state) == (0, "RUNNING")
    [attempt] = rows(connection, schema.attempts)
    assert codec.decode_attempt(attempt.data).outcome == "complete"
    assert [(entry.kind, entry.at) for entry in rows(connection, schema.journal)] == [("trial", 7.0), ("trial", 7.0)]


def test_reports_rungs_and_verdicts_are_written_once() -> None:
    connection = database()
    first = [PutReports((report(1), report(2))), PutRung(0, 1, 10, {}, (0.5,)), PutVerdict(0, 1, "keep")]
    again = [PutReports((report(2, 9.0), report(3))), PutRung(0, 1, 10, {}, (0.9,)), PutVerdict(0, 1, "prune")]
    WriteBatch(1, first, 7.0).apply(connection)
    WriteBatch(1, again, 8.0).apply(connection)
    stored = rows(connection, schema.reports)
    assert [codec.decode_report(0, 0, row.rung, row.step, row.data) for row in stored] == [
        report(1),
        report(2),
        report(3),
    ]
    assert [row.verdict for row in rows(connection, schema.verdicts)] == ["keep"]
    assert [codec.decode(row.data)["values"] for row in rows(connection, schema.journal)] == [[0.5]]


def test_the_journal_of_a_sweep_keeps_no_config() -> None:
    connection = database()
    view = SweepView("s", SweepState.RUNNING, {"seed": 3}, ("seed=3",))
    WriteBatch(1, [PutSweep(view)], 7.0).apply(connection)
    [sweep], [entry] = rows(connection, schema.sweeps), rows(connection, schema.journal)
    assert SweepView(**codec.sweep_fields(sweep.data, "s")) == view
    assert "config" not in codec.decode(entry.data)


def test_nothing_to_write_writes_nothing() -> None:
    connection = database()
    WriteBatch(1, [], 7.0).apply(connection)
    assert [rows(connection, table) for table in (schema.trials, schema.reports, schema.journal)] == [[], [], []]
