"""The `Mirror` that writes the ledger's journal into an Optuna database, for optuna-dashboard. Nothing reads it back.

Finished trials are final in Optuna, so a trial that goes on (`resume --failed`, `--extend`) gets a second entry with
the same ``rnnsweep.trial``. Each entry remembers which journal entries opened and ended it; what lies before is a
repetition.
"""

from __future__ import annotations

import datetime
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as State

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.optuna.cube import bounds, cell_count, cell_value, coordinate
from rnnsweep.adapters.optuna.sqlite_writer import DetailWriter, TrialDetail, writer_of
from rnnsweep.adapters.optuna.study_contents import IDENTITY, TRIAL, Steps, covers, expected_steps
from rnnsweep.errors import StoreError
from rnnsweep.sweep.edits import brought_up
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.space import Dimension
from rnnsweep.sweep.states import TrialState

LOG = logging.getLogger(__name__)
OPENED, ENDED = "rnnsweep.opened", "rnnsweep.ended"
_CREATING = threading.Lock()
"""Optuna makes its tables one by one: of two threads that begin with an empty database, one would fail."""


@dataclass
class _Entry:
    """One Optuna trial: what the database has (`stored`), and what is to be written next."""

    number: int
    opened: int
    stored: int | None = None
    ended: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    curve: dict[int, float] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    started: float = 0.0
    finished: float = 0.0


class OptunaMirror:
    """Implements `Mirror` for an Optuna RDB study named like the sweep.

    Where another store's sweep (or one whose ledger is gone) has that study, it gets one of its own.

    Args:
        url: of the database.
        plan: the sweep's.
        identity: `SweepView.identity`; empty: any study of this name will do.
    """

    name = "optuna"
    batch = 1000

    def __init__(self, url: str, plan: SweepPlan, identity: str = "") -> None:
        self._url, self._plan, self._identity = url, plan, identity
        self._storage: optuna.storages.RDBStorage | None = None
        self._study: optuna.Study | None = None
        self._writer: DetailWriter | None = None
        self._entries: dict[int, list[_Entry]] = {}

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether the database still has what these entries brought it: every trial, and a value for every rung."""
        return self.has(expected_steps(self._plan, batches))

    def has(self, expected: Steps) -> bool:
        """Whether the database has this; see `holds`."""
        with _store_errors():
            name = self._study_name(self._connected())
            if name not in optuna.get_all_study_names(self._connected()):
                return not expected
            study = optuna.load_study(study_name=name, storage=self._connected())
            stored: dict[int, set[int]] = {}
            for trial in study.get_trials(deepcopy=False):
                steps = stored.setdefault(trial.user_attrs.get(TRIAL, -1), set())
                steps.update(trial.intermediate_values)
        return covers(stored, expected)

    def start_over(self) -> None:
        """Remove the sweep's study: finished trials are final in Optuna, nothing can be added to them."""
        with _store_errors():
            name = self._study_name(self._connected())
            if name in optuna.get_all_study_names(self._connected()):
                optuna.delete_study(study_name=name, storage=self._connected())
        self._forget()

    def write(self, changes: Sequence[Change]) -> None:
        """Apply journal entries in order; details of all trials first, then each trial that begins or ends."""
        try:
            with _store_errors():
                study = self._open()
                touched: dict[tuple[int, int], _Entry] = {}
                for change in changes:
                    entry = self._take(change)
                    if entry is not None:
                        touched[entry.number, entry.opened] = entry
                # in the order in which they began: Optuna numbers trials as they come
                entries = [touched[key] for key in sorted(touched, key=lambda key: (key[1], key[0]))]
                # before states: Optuna changes nothing of a trial that is finished
                self._write_details(entries)
                for entry in entries:
                    self._flush(study, entry)
        except BaseException:
            self._forget()  # what the failed call has done is unknown: read again
            raise

    def close(self) -> None:
        """Disconnect."""
        self._forget()

    def _forget(self) -> None:
        if self._storage is not None:
            # the engine keeps its file open while a thread's session holds a connection
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage = self._study = None
        self._entries = {}

    def _open(self) -> optuna.Study:
        if self._study is not None:
            return self._study
        storage = self._connected()
        ways = {"minimize": StudyDirection.MINIMIZE, "maximize": StudyDirection.MAXIMIZE}
        goals = [ways[objective.goal] for objective in self._plan.objectives]
        name = self._study_name(storage)
        study = optuna.create_study(storage=storage, study_name=name, directions=goals, load_if_exists=True)
        if self._identity and study.user_attrs.get(IDENTITY) != self._identity:
            study.set_user_attr(IDENTITY, self._identity)
        for trial in study.get_trials(deepcopy=False):
            self._remember(trial)
        self._writer = writer_of(self._url, study._storage)
        self._study = study
        return study

    def _study_name(self, storage: optuna.storages.RDBStorage) -> str:
        """The sweep's name, or one with its identity where another sweep has that study."""
        name = self._plan.name
        if self._identity and name in optuna.get_all_study_names(storage):
            theirs = optuna.load_study(study_name=name, storage=storage).user_attrs.get(IDENTITY)
            # None: a study of an older version, or made by hand under this name: taken over
            if theirs not in (None, self._identity):
                LOG.warning("the study %s in the Optuna database belongs to another sweep of this name", name)
                return f"{name}-{self._identity[:6]}"
        return name

    def _connected(self) -> optuna.storages.RDBStorage:
        """The database, with its tables."""
        if self._storage is not None:
            return self._storage
        options: dict[str, Any] = {}
        path = sqlite.path_of(self._url)
        if path is not None:
            sqlite.write_ahead(path)
            options = {"connect_args": {"timeout": sqlite.PATIENCE, "factory": _Unhurried}}
        with _CREATING:
            self._storage = optuna.storages.RDBStorage(self._url, engine_kwargs=options)
        return self._storage

    def _remember(self, trial: FrozenTrial) -> None:
        number = trial.user_attrs.get(TRIAL)
        if number is None:
            return
        ended = trial.user_attrs.get(ENDED) if trial.state.is_finished() else None
        entry = _Entry(number, trial.user_attrs[OPENED], trial._trial_id, ended)
        self._entries.setdefault(number, []).append(entry)

    # -------------------------------------------------------------- changes

    def _take(self, change: Change) -> _Entry | None:
        """The entry that a change belongs to, brought up to date; None where it is a repetition or means nothing."""
        if change.kind == "sweep":
            self._plan = brought_up(self._plan, change.data.get("config", {}))
        if change.trial is None or change.kind not in ("trial", "rung"):
            return None
        entry = self._entry(change)
        # what comes up to an entry's end is a repetition after a kill: the cursor lags behind what was written
        if entry is None or (entry.ended is not None and change.seq <= entry.ended):
            return None
        if change.kind == "rung":
            values = change.data["values"]
            if len(self._plan.objectives) == 1 and values:
                entry.curve[int(change.data["step"])] = float(values[0])
            return entry
        entry.params = change.data["params"]
        entry.started = change.data.get("started") or change.at
        entry.finished = change.data.get("finished") or change.at
        if TrialState(change.data["state"]).finished:
            entry.result, entry.ended = change.data, change.seq
        return entry

    def _entry(self, change: Change) -> _Entry | None:
        """The newest entry that was open at the change; a new one where a trial begins or begins again."""
        assert change.trial is not None
        known = self._entries.setdefault(change.trial, [])
        before = [entry for entry in known if entry.opened <= change.seq]
        # beyond its end the trial was reopened, which needs a new entry: finished ones are final in Optuna
        if before and (before[-1].ended is None or change.seq <= before[-1].ended):
            return before[-1]
        if change.kind != "trial":
            return None
        entry = _Entry(change.trial, change.seq)
        known.append(entry)
        return entry

    # -------------------------------------------------------------- writing

    def _write_details(self, entries: Sequence[_Entry]) -> None:
        """Curves, and attributes of those that ended, of trials that the database has."""
        assert self._writer is not None
        stored = [(entry, entry.stored) for entry in entries if entry.stored is not None]
        ended = [self._attributes(entry) if entry.result is not None else {} for entry, _ in stored]
        self._writer.write(
            [TrialDetail(key, entry.curve, more) for (entry, key), more in zip(stored, ended, strict=True)]
        )

    def _flush(self, study: optuna.Study, entry: _Entry) -> None:
        storage = study._storage
        if entry.stored is None:
            entry.stored = storage.create_new_trial(study._study_id, template_trial=self._template(entry))
        elif entry.result is not None:
            state, values = self._outcome(entry.result)
            storage.set_trial_state_values(entry.stored, state=state, values=values)
        # written: a long sweep's mirror keeps numbers only
        entry.curve, entry.result, entry.params = {}, None, {}

    def _template(self, entry: _Entry) -> FrozenTrial:
        """A trial with all that is known; points outside of the space keep their values as attributes only."""
        state, values = (State.RUNNING, None) if entry.result is None else self._outcome(entry.result)
        params: dict[str, Any] = {}
        kinds: dict[str, BaseDistribution] = {}
        attributes = self._attributes(entry)
        searched = {dimension.key: (name, dimension) for name, dimension in self._searched(entry.number)}
        for key, value in entry.params.items():
            if key not in searched or coordinate(searched[key][1], value) is None:
                attributes[key] = repr(value)
                continue
            name, dimension = searched[key]
            kinds[name] = _distribution(dimension)
            params[name] = value if dimension.kind != "categorical" else _choice(dimension, value)
        trial = create_trial(
            state=state,
            values=values,
            params=params,
            distributions=kinds,
            user_attrs=attributes,
            intermediate_values=entry.curve,
        )
        # without a time zone, as Optuna stores its own times
        trial.datetime_start = datetime.datetime.fromtimestamp(entry.started)
        if entry.result is not None:
            trial.datetime_complete = datetime.datetime.fromtimestamp(entry.finished)
        return trial

    def _searched(self, trial: int) -> Iterator[tuple[str, Dimension]]:
        """What was searched when the trial was asked for, with the names that Optuna's study has for it.

        A study takes one kind of value per name, and one list of choices: where an edit brought another, the key goes
        on as ``KEY@VERSION``.
        """
        number = self._plan.version_of(trial)
        spaces = [version.space for version in self._plan.versions[: number + 1]] or [self._plan.space]
        for dimension in spaces[-1]:
            kind = _kind(dimension)
            kinds = [_kind(one) for space in spaces for one in space if one.key == dimension.key]
            since = next(
                at for at, space in enumerate(spaces) if kind in [_kind(d) for d in space if d.key == dimension.key]
            )
            yield dimension.key if kinds[0] == kind else f"{dimension.key}@{since}", dimension

    def _attributes(self, entry: _Entry) -> dict[str, Any]:
        attributes: dict[str, Any] = {TRIAL: entry.number, OPENED: entry.opened}
        if entry.result is not None:
            names = ("reason", "attempts", "engine", "worker", "solved_at", "diverged_at", "diverged_share")
            attributes.update({name: entry.result.get(name) for name in names})
            attributes[ENDED] = entry.ended
        return attributes

    def _outcome(self, result: Mapping[str, Any]) -> tuple[State, list[float] | None]:
        state = TrialState(result["state"])
        if state is TrialState.FAILED:
            # Optuna refuses values for failed trials
            return State.FAIL, None
        values = [float(value) for value in result["values"]]
        return (State.COMPLETE if state is TrialState.COMPLETE else State.PRUNED), values or None


def _kind(dimension: Dimension) -> tuple[object, ...]:
    """What Optuna holds fixed under one name."""
    return dimension.kind, dimension.log, tuple(map(repr, dimension.choices))


def _distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as people want to see it: real values, not indices."""
    if dimension.kind == "categorical":
        return CategoricalDistribution([_choice(dimension, choice) for choice in dimension.choices])
    low, high = bounds(dimension)
    cells = cell_count(dimension)
    high = high if cells is None else cell_value(dimension, cells - 1)
    if dimension.kind == "int":
        step = 1 if dimension.step is None else int(dimension.step)
        return optuna.distributions.IntDistribution(int(low), int(high), log=dimension.log, step=step)
    # a step would be checked with other rounding than ours; the dashboard does not need it
    return optuna.distributions.FloatDistribution(low, high, log=dimension.log)


def _choice(dimension: Dimension, value: Any) -> Any:
    """A categorical value; as text where some are equal for Optuna (1 and True) or of another type than it knows."""
    plain = all(choice is None or isinstance(choice, (bool, int, float, str)) for choice in dimension.choices)
    distinct = plain and len(set(dimension.choices)) == len(dimension.choices)
    return value if distinct else repr(value)


class _Unhurried(sqlite3.Connection):
    """Commits without waiting for the disk: a power cut may cost a mirror its last entries, never its consistency."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.execute("PRAGMA synchronous=NORMAL").close()


DATABASE_ERRORS = {"OperationalError", "DatabaseError", "InternalError", "IntegrityError", "TimeoutError"}
"""Names of what sqlite3, psycopg and SQLAlchemy raise when a database is away, locked, full or changed under us."""


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turn what a database does when it is away, locked or full into `StoreError`; the rest goes through."""
    try:
        yield
    except Exception as error:
        chain: list[BaseException] = [error]
        # Optuna and SQLAlchemy both wrap what the driver raised
        while (cause := chain[-1].__cause__) is not None:
            chain.append(cause)
        # a value that no database takes comes wrapped as a database error too, but waiting would not help
        refused = any(isinstance(one, (ValueError, TypeError, OverflowError)) for one in chain)
        away = any(isinstance(one, OSError) or type(one).__name__ in DATABASE_ERRORS for one in chain)
        if away and not refused:
            first = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise StoreError("Optuna mirror", first[:300]) from error
        raise
