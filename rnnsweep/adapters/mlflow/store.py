"""MLflow's client with the few calls that the tracker needs; outages become `StoreError`, to be tried again.

Points go straight into a SQLite file, those of all runs in one transaction. MLflow's client takes the points of one run
per call and makes several objects of each, about 0.1 ms per point; here a point costs a few microseconds, however many
runs the points are spread over. What the tables hold afterwards is what the client would have put there; where the
tables are not the ones that are known here, the client goes on doing it.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.mlflow.library import (
    LocalArtifactRepository,
    Metric,
    MlflowClient,
    MlflowException,
    Param,
    Run,
    RunTag,
    ViewType,
    get_artifact_repository,
)
from rnnsweep.adapters.mlflow.sqlite_tables import IDENTITY, KIND, PARENT, TRIAL, owns, points_by_curve, relocate
from rnnsweep.errors import StoreError
from rnnsweep.sweep.views import SweepView

LOG = logging.getLogger(__name__)

Point = tuple[str, float, int, int]
"""(key, value, timestamp in ms, step); the value is finite."""

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PAGE = 1000

REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST", "MAX_READ_SIZE_EXCEEDED"}
"""MLflow's words for what no repetition makes better; every other one means that it is away, full or busy."""
DATA_ERRORS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, sqlite3.DataError)
"""Errors that come from what was written, not from where to."""
DATABASE_ERRORS = {"OperationalError", "DatabaseError", "InternalError"}
"""Names of what databases raise when they are away, locked, full or damaged."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn a store that is away, full or busy into a `StoreError` with one line of reason; the rest goes through.

    What goes through is what the store cannot take, or a mistake of ours: the same again would fail the same way.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if not _away(error):
            raise
        raise StoreError("MLflow", first_line(error)) from error


def _away(error: Exception) -> bool:
    """Whether it is worth trying again, judged by the error and what caused it."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or getattr(chain[-1], "orig", None)) is not None:
        chain.append(cause)
    if any(isinstance(one, DATA_ERRORS) for one in chain):
        return False
    if any(type(one).__name__ in DATABASE_ERRORS for one in chain):  # sqlite3's, psycopg's and SQLAlchemy's alike
        return True
    return not (isinstance(error, MlflowException) and error.error_code in REFUSALS)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, for people."""
    return (next(iter(str(error).splitlines()), "") or type(error).__name__)[:300]


def find_runs(uri: str, sweep: SweepView) -> tuple[str, dict[int, str]]:
    """(experiment id, trial number -> run id) of a sweep; ("", {}) where MLflow has none. Writes nothing.

    Raises:
        StoreError: the store cannot be reached.
    """
    with store_errors():
        client = MlflowClient(tracking_uri=uri)
        for name in experiment_names(sweep):
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                break
            for own in _pages(client, experiment.experiment_id, {KIND: "sweep"}):
                if is_own(sweep, own):
                    children = _pages(client, experiment.experiment_id, {PARENT: own.info.run_id})
                    runs = {int(run.data.tags[TRIAL]): run.info.run_id for run in children if TRIAL in run.data.tags}
                    return experiment.experiment_id, runs
        return "", {}


def experiment_names(sweep: SweepView) -> tuple[str, str]:
    """The sweep's experiment, and the one it gets where another store's sweep has taken that name."""
    return sweep.name, f"{sweep.name}-{sweep.identity[:6]}"


def is_own(sweep: SweepView, run: Run) -> bool:
    """Whether a sweep's run belongs to this very sweep."""
    return owns(sweep, run.data.tags.get(IDENTITY), run.info.start_time)


def _pages(
    client: MlflowClient, experiment_id: str, tags: Mapping[str, str], view: int = ViewType.ACTIVE_ONLY
) -> Iterator[Run]:
    wanted = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    token, order = None, ["attributes.start_time ASC"]
    while True:
        page = client.search_runs([experiment_id], wanted, view, PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


class RunStore:
    """One sweep's experiment in an MLflow store, made where it is missing.

    Attributes:
        experiment_id: of the experiment.
        own: the sweep's own run; None where it is still to be made.
    """

    def __init__(self, uri: str, sweep: SweepView, artifact_root: str | None) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._direct = sqlite_points(uri)
        self.experiment_id, self.own = "", None
        for name in experiment_names(sweep):
            if self._take(uri, name, sweep, artifact_root):
                return
        raise StoreError("MLflow", f"other sweeps hold the experiments {' and '.join(experiment_names(sweep))}")

    def _take(self, uri: str, name: str, sweep: SweepView, artifact_root: str | None) -> bool:
        """Whether the experiment of this name is the sweep's; a deleted one comes back, its run as well."""
        known = self._client.get_experiment_by_name(name)
        if known is None:
            root = None if artifact_root is None else f"{artifact_root.rstrip('/')}/{name}"
            self.experiment_id = self._client.create_experiment(name, artifact_location=root)
            return True
        runs = list(_pages(self._client, known.experiment_id, {KIND: "sweep"}, ViewType.ALL))
        own = [run for run in runs if is_own(sweep, run)]
        if runs and not own:
            LOG.warning("MLflow's experiment %s belongs to another store's sweep of this name", name)
            return False
        if known.lifecycle_stage == "deleted":
            self._client.restore_experiment(known.experiment_id)
        self.experiment_id, self.own = known.experiment_id, self._living(own)
        database = sqlite.path_of(uri)
        if database is not None and artifact_root is not None and relocate(database, Path(artifact_root), name):
            LOG.warning("the store was copied or moved: artifacts of %s are written to %s", name, artifact_root)
        return True

    def _living(self, runs: Sequence[Run]) -> Run | None:
        """The first run that is not deleted, else the first, brought back: its children refer to it."""
        for run in runs:
            if run.info.lifecycle_stage == "active":
                return run
        for run in runs[:1]:
            self._client.restore_run(run.info.run_id)
        return next(iter(runs), None)

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment."""
        for key, value in tags.items():
            self._client.set_experiment_tag(self.experiment_id, key, value)

    def trials(self) -> Iterator[Run]:
        """All runs of trials, page by page, oldest first; deleted ones too."""
        return _pages(self._client, self.experiment_id, {KIND: "trial"}, ViewType.ALL)

    def restore(self, run_id: str) -> None:
        """Bring a deleted run back."""
        self._client.restore_run(run_id)

    def params(self, run_id: str) -> dict[str, str]:
        """A run's params."""
        return self._client.get_run(run_id).data.params

    def newest_point(self, run_id: str, key: str) -> int:
        """When a metric's newest point was, ms since the epoch; 0 where it has none."""
        return max((point.timestamp for point in self._client.get_metric_history(run_id, key)), default=0)

    def points_by_curve(self) -> Mapping[tuple[str, str], int] | None:
        """(run id, metric) -> number of points; None where counting them would cost a call for each."""
        return None if self._direct is None else points_by_curve(self._direct.path)

    def create(self, name: str, started_ms: int, tags: Mapping[str, str]) -> Run:
        """A new run."""
        return self._client.create_run(self.experiment_id, started_ms, dict(tags), name)

    def write_points(self, points: Mapping[str, Sequence[Point]]) -> bool:
        """Write points of many runs at once, by run id; False where the store takes them through `log` only."""
        if self._direct is None:
            return False
        self._direct.write(points)
        return True

    def log(self, run_id: str, points: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Write in as few calls as the limits allow; writing the same again changes nothing."""
        metrics = [Metric(key, value, at, step) for key, value, at, step in points]
        given = [Param(key, value) for key, value in params.items()]
        marks = [RunTag(key, value) for key, value in tags.items()]
        while metrics or given or marks:
            # one call takes 1000 items of all kinds together
            now, rest = given[:PARAMS_PER_CALL], marks[:PARAMS_PER_CALL]
            room = METRICS_PER_CALL - len(now) - len(rest)
            self._client.log_batch(run_id, metrics=metrics[:room], params=now, tags=rest)
            metrics, given, marks = metrics[room:], given[PARAMS_PER_CALL:], marks[PARAMS_PER_CALL:]

    def set_status(self, run_id: str, status: str) -> None:
        """A status that is not final."""
        self._client.update_run(run_id, status=status)

    def end(self, run_id: str, status: str, at_ms: int) -> None:
        """A final status."""
        self._client.set_terminated(run_id, status, at_ms)

    def upload_quietly(self, run_id: str, files: Mapping[str, bytes | Path]) -> None:
        """`upload` that only logs its failure: artifacts never stand in the way of metrics."""
        try:
            self.upload(run_id, files)
        except Exception:
            LOG.exception("artifacts of run %s could not be written", run_id)

    def upload(self, run_id: str, files: Mapping[str, bytes | Path]) -> None:
        """Artifacts by their path within the run, all at once."""
        if not files:
            return
        # not by the client, which remembers for good where a run's artifacts were
        place = self._client.get_run(run_id).info.artifact_uri or ""
        repository = get_artifact_repository(place, tracking_uri=self._client.tracking_uri)
        if isinstance(repository, LocalArtifactRepository):  # without a copy to copy from: this is waited for
            return put_files(files, Path(repository.artifact_dir))
        with tempfile.TemporaryDirectory(prefix="rnnsweep-") as folder:
            put_files(files, Path(folder))
            repository.log_artifacts(folder)


def put_files(files: Mapping[str, bytes | Path], folder: Path) -> None:
    """Write files by their path within a folder; what is there already is replaced."""
    for name, content in files.items():
        target = folder.joinpath(*PurePosixPath(name).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        elif content.is_dir():
            shutil.copytree(content, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(content, target)


# ------------------------------------------------------------------ points straight into SQLite

COLUMNS = {"key", "value", "timestamp", "step", "is_nan", "run_uuid"}
KEYS = {"metrics": COLUMNS, "latest_metrics": {"key", "run_uuid"}}
"""Primary keys of the two tables, which both have these columns."""

_ADD = """
INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING
"""
_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)
ON CONFLICT (key, run_uuid) DO UPDATE
SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value)
    > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""


class SqlitePoints:
    """Writer of points into one file; safe for threads, for it connects anew for every batch.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, points: Mapping[str, Sequence[Point]]) -> None:
        """Add points by run id, all or none; those that are there already are left as they are.

        Raises:
            sqlite3.Error: the file cannot be written, or there is no such run.
        """
        with sqlite.transaction(self.path) as connection:
            for run_id, new in points.items():
                connection.executemany(_ADD, [(*point, run_id) for point in new])
                connection.executemany(_LATEST, [(*point, run_id) for point in _newest(new)])


def _newest(points: Sequence[Point]) -> list[Point]:
    """The newest point of each key, by step, time and value as MLflow has it, in the order of first appearance."""
    newest: dict[str, Point] = {}
    for point in points:
        before = newest.get(point[0])
        if before is None or _age(point) > _age(before):
            newest[point[0]] = point
    return list(newest.values())


def _age(point: Point) -> tuple[int, int, float]:
    _, value, at, step = point
    return step, at, value


def sqlite_points(uri: str) -> SqlitePoints | None:
    """A writer for the store at `uri`; None where it is no SQLite file with the tables that are known here."""
    path = sqlite.known_file(
        uri, list(KEYS), lambda table, columns: columns == {(c, c in KEYS[table]) for c in COLUMNS}
    )
    return None if path is None else SqlitePoints(path)
