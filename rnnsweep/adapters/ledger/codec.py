"""From writes to rows and back: JSON without loss and without pickle, and the rows of one commit.

Floats come back bit for bit (shortest repr; only NaN payloads are not kept). JSON has no NaN and no infinities, and
`threshold = inf` is an ordinary value here, so they become ``{"$float": "inf"}``; a mapping that JSON would change
(keys that start with ``$`` or are no strings) becomes ``{"$dict": [[key, value], ...]}``. Everything is ASCII: NUL
characters and lone surrogates, which PostgreSQL's text refuses, survive as escapes. Tuples come back as lists.

Forming the digits of floats is what a ledger's processor time goes into, so `orjson` does it, at a tenth of the time.
What it would write otherwise than said above (it has ``null`` for what is not finite, and no tags) is left to `json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa

from rnnsweep.adapters.ledger.schema import attempts, insert, journal, reports, sweeps, trials, verdicts
from rnnsweep.adapters.ledger.secrets import hidden
from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import (
    AttemptView,
    Change,
    PutAttempt,
    PutReports,
    PutRung,
    PutSweep,
    PutTrial,
    PutVerdict,
    SweepView,
    TrialView,
    Write,
)
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.segments import segment_of
from rnnsweep.sweep.states import RowState, SweepState, TrialState
from rnnsweep.sweep.verdicts import PROMOTE, START

_Row = dict[str, Any]

_SWEEP_FIELDS = tuple(field.name for field in fields(SweepView) if field.name != "name")
_STORED_AS = {"history": "story"}
"""Fields whose name in the ledger is another: what older versions wrote stays readable, and the other way round."""
_TRIAL_FIELDS = tuple((field.name, _STORED_AS.get(field.name, field.name)) for field in fields(TrialView))
_TRIAL_ABSENT = {field.name: None for field in fields(TrialView) if field.default is None}
_ATTEMPT_FIELDS = tuple(field.name for field in fields(AttemptView))
_REPORT_DEFAULTS = {
    "state": RowState.ACTIVE,
    "solved_at": None,
    "solved_exactly_at": None,
    "diverged_at": None,
    "device_s": 0.0,
    "engine": "",
    "fingerprint": 0,
}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON-able: {value!r}")


_STRICT = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"), default=_plain)
_PLAIN_ONLY = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(value: Any) -> str:
    """Text of plain nested data (mappings, lists, tuples, str, int, float, bool, None), ASCII only.

    No URL in it holds a secret: configs, what users typed and the errors of workers all come through here.

    Raises:
        TypeError: something in it is not plain data.
    """
    text = _encoded(value)
    return text if "://" not in text else _encoded(hidden(value))


def _encoded(value: Any) -> str:
    try:
        # PASSTHROUGH: orjson would write dataclasses and dates as plain data, which would come back as something else
        text = orjson.dumps(value, _plain, _PLAIN_ONLY)
    except orjson.JSONEncodeError:  # a key that is no string, a number beyond 64 bits, a lone surrogate
        return _STRICT.encode(_tag(value))
    # null may be a NaN that orjson has flattened: false alarms only cost time
    if b"null" in text or b'"$' in text or not text.isascii():
        return _STRICT.encode(_tag(value))
    return text.decode("ascii")


def decode(text: str) -> Any:
    """Inverse of `encode`."""
    # the hook costs a Python call per mapping; tags are rare
    return json.loads(text, object_hook=_untag) if '"$' in text else json.loads(text)


@contextmanager
def damage_told(where: str) -> Iterator[None]:
    """Say of rows, whatever of them cannot be read, that they are damaged: what was written could be.

    Args:
        where: the ledger.

    Raises:
        StoreError: something inside was no text of `encode`, or was not all that was written.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # no JSON; a value, a kind, a key amiss
        said, hint = f"{type(error).__name__}: {error}", "rnnsweep doctor looks for more"
        text = f"{where}: a row is damaged ({said}); {hint}; a copy of the file from before helps"
        raise StoreError("ledger", text) from error


def _decode_numbers(text: str) -> Any:
    """Same as `decode`, faster, for what has no integers beyond 64 bits (which would lose digits)."""
    try:
        return decode(text) if '"$' in text else orjson.loads(text)
    except orjson.JSONDecodeError:  # a lone surrogate
        return decode(text)


def _tag(value: Any) -> Any:
    # repr of a plain float: a numpy float64 is a float, and its repr is not a number
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _tag(item) for key, item in value.items()}
        return {"$dict": [[_tag(key), _tag(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_tag(item) for item in value]
    return value


def _untag(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        if "$float" in value:
            return float(value["$float"])
        if "$dict" in value:
            return dict(map(tuple, value["$dict"]))
    return value


# ------------------------------------------------------------------ views


def encode_sweep(view: SweepView) -> str:
    """All fields but the name, which is a column."""
    return encode({name: getattr(view, name) for name in _SWEEP_FIELDS})


def encode_sweep_change(view: SweepView) -> str:
    """What the journal keeps of a sweep: not the config, which would be repeated in every entry."""
    kept = (name for name in _SWEEP_FIELDS if name not in ("config", "overrides"))
    return encode({name: getattr(view, name) for name in kept})


def sweep_fields(text: str, name: str) -> dict[str, Any]:
    """Fields of a `SweepView`, typed as the view has them."""
    data = decode(text)
    data["state"] = SweepState(data["state"])
    if "overrides" in data:
        data["overrides"] = tuple(data["overrides"])
    return {"name": name, **data}


def encode_trial(view: TrialView) -> str:
    """All fields but those that are None."""
    values = ((stored, getattr(view, name)) for name, stored in _TRIAL_FIELDS)
    kept = {name: value for name, value in values if value is not None}
    if view.segments is not None:
        kept["segments"] = [asdict(segment) for segment in view.segments]
    return encode(kept)


def trial_fields(text: str) -> dict[str, Any]:
    """Fields of a `TrialView`, typed as the view has them."""
    data = {**_TRIAL_ABSENT, **decode(text)}
    data["state"] = TrialState(data["state"])
    for name, stored in _STORED_AS.items():
        data[name] = data.pop(stored, ())
    data["values"], data["history"] = tuple(data["values"]), tuple(data["history"])
    if data["fingerprints"] is not None:
        data["fingerprints"] = tuple(data["fingerprints"])
    if data["segments"] is not None:
        data["segments"] = tuple(map(segment_of, data["segments"]))
    return data


def encode_attempt(view: AttemptView) -> str:
    """All fields."""
    return encode({name: getattr(view, name) for name in _ATTEMPT_FIELDS})


def decode_attempt(text: str) -> AttemptView:
    """Inverse of `encode_attempt`."""
    return AttemptView(**decode(text))


def encode_report(report: RowReport) -> str:
    """What is no column of the reports table; fields at their defaults are left out."""
    data: dict[str, Any] = {"token": report.token, "metrics": report.metrics}
    for name, default in _REPORT_DEFAULTS.items():
        value = getattr(report, name)
        if value != default:
            data[name] = value
    if report.device_s == 0.0 and math.copysign(1.0, report.device_s) < 0.0:  # equals the default and is not the same
        data["device_s"] = report.device_s
    return encode(data)


def decode_report(trial: int, replica: int, rung: int, step: int, text: str) -> RowReport:
    """Inverse of `encode_report`."""
    data = _decode_numbers(text)
    data["state"] = RowState(data.get("state", RowState.ACTIVE))
    return RowReport(trial=trial, replica=replica, rung=rung, step=step, **data)


def change(row: Any, today: SweepView | None) -> Change:
    """A journal entry; those of the sweep show the config of today."""
    if row.kind == "sweep":
        assert today is not None
        stored = sweep_fields(row.data, today.name)
        data: dict[str, Any] = {**stored, "config": today.config, "overrides": today.overrides}
    elif row.kind == "trial":
        data = trial_fields(row.data)
    else:
        data = _decode_numbers(row.data)
        if row.kind == "rung":
            data = {"rung": row.rung, **data, "values": tuple(data["values"])}
    return Change(row.seq, row.kind, row.trial, row.at, data)


def verdict_row(write: PutVerdict) -> _Row:
    """Columns of a verdict but the sweep's; whatever is no first verdict on a rung stands below 0.

    A promotion, since the pause that it follows has its rung; and a start of replicas, which is about no rung. A sweep
    has a scheduler or races, never both, so that neither meets the other.

    Example:
        >>> verdict_row(PutVerdict(7, 3, "promote"))
        {'trial': 7, 'rung': -3, 'verdict': 'promote'}
    """
    rung = -write.rung if write.verdict in (PROMOTE, START) else write.rung
    return {"trial": write.trial, "rung": rung, "verdict": write.verdict}


# ------------------------------------------------------------------ the writes of one commit


class WriteBatch:
    """The writes of one commit, encoded before the transaction begins and applied table by table.

    Rows for every table; of several writes of one thing the last wins, except where the first must.

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
                self._note("rung", encode(data), write.trial, write.rung)
            case PutVerdict():
                self._verdicts.append({"sweep": self._sweep, **verdict_row(write)})
            case PutTrial(view):
                data = encode_trial(view)
                row = {"sweep": self._sweep, "number": view.number, "state": view.state.value, "data": data}
                # the last state counts in the table, while the journal keeps every step for the mirrors
                self._trials[view.number] = row
                self._note("trial", data, view.number)
            case PutAttempt(view):
                row = {"trial": view.trial, "number": view.number, "data": encode_attempt(view)}
                self._attempts[view.trial, view.number] = {"sweep": self._sweep, **row}
            case PutSweep(view):
                self._sweep_data = encode_sweep(view)
                self._note("sweep", encode_sweep_change(view))

    def _add_reports(self, write: PutReports) -> None:
        sweep, add, encode = self._sweep, self._reports.append, encode_report
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
        # never replaced: what a worker, a pruner or the machine has once said stays, however often a commit is
        # repeated
        for table, rows in ((reports, self._reports), (verdicts, self._verdicts), (journal, self._journal)):
            if rows:
                _put(connection, table, rows, replace=False)


def _put(connection: sa.Connection, table: sa.Table, rows: list[_Row], replace: bool) -> None:
    """Insert rows; those that are there already are replaced, or left as they are."""
    if connection.dialect.name == "sqlite":  # SQLAlchemy's work per row would cost more than SQLite's own
        # the first row stands for all: rows of one table are made in one place, with the same keys in the same order
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
