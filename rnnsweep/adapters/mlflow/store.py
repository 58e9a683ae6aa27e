"""MLflow's client with the few calls that the tracker needs; what goes wrong is a `StoreError`, to be tried again.

Points go straight into a SQLite file, those of all runs in one transaction. MLflow's client takes the points of one run
per call and makes several objects of each, about 0.1 ms per point; here a point costs a few microseconds, however many
runs the points are spread over. What the tables hold afterwards is what the client would have put there; where the
tables are not the ones that are known here, the client goes on doing it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.tracking import MlflowClient

from rnnsweep.adapters import sqlite
from rnnsweep.errors import StoreError

Point = tuple[str, float, int, int]
"""(key, value, timestamp in ms, step); the value is finite."""

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PAGE = 1000


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every failure of MLflow, its HTTP client or its database into a `StoreError` with one line of reason."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise StoreError("MLflow", first[:300]) from error


def has_experiment(uri: str, name: str) -> bool:
    """Whether there is an experiment of this name. Writes nothing.

    Raises:
        StoreError: the store cannot be reached.
    """
    with store_errors():
        return MlflowClient(tracking_uri=uri).get_experiment_by_name(name) is not None


def find_runs(uri: str, sweep: str) -> tuple[str, dict[int, str]]:
    """(experiment id, trial number -> run id) of a sweep; ("", {}) where MLflow has none. Writes nothing.

    Raises:
        StoreError: the store cannot be reached.
    """
    with store_errors():
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is None:
            return "", {}
        runs = _pages(client, experiment.experiment_id, "rnnsweep.kind", "trial")
        found = {int(run.data.tags["rnnsweep.trial"]): run.info.run_id for run in runs}
        return experiment.experiment_id, dict(sorted(found.items()))


def _pages(client: MlflowClient, experiment_id: str, key: str, value: str) -> Iterator[Run]:
    token = None
    while True:
        wanted = f"tags.`{key}` = '{value}'"
        order = ["attributes.start_time ASC"]
        page = client.search_runs([experiment_id], wanted, ViewType.ACTIVE_ONLY, PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


class RunStore:
    """One experiment of an MLflow store.

    Attributes:
        experiment_id: of the experiment, made where it is missing.
    """

    def __init__(self, uri: str, experiment: str, artifact_root: str | None) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._direct = sqlite_points(uri)
        self.experiment_id = self._experiment(experiment, artifact_root)

    def _experiment(self, name: str, artifact_root: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            root = None if artifact_root is None else f"{artifact_root.rstrip('/')}/{name}"
            return self._client.create_experiment(name, artifact_location=root)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment."""
        for key, value in tags.items():
            self._client.set_experiment_tag(self.experiment_id, key, value)

    def find(self, key: str, value: str) -> Iterator[Run]:
        """All runs with a tag, page by page, oldest first."""
        return _pages(self._client, self.experiment_id, key, value)

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

    def upload(self, run_id: str, files: Mapping[str, bytes | Path]) -> None:
        """Artifacts by their path within the run, all at once."""
        with tempfile.TemporaryDirectory(prefix="rnnsweep-") as folder:
            for name, content in files.items():
                target = Path(folder, *PurePosixPath(name).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, bytes):
                    target.write_bytes(content)
                elif content.is_dir():
                    shutil.copytree(content, target)
                else:
                    shutil.copyfile(content, target)
            if files:
                self._client.log_artifacts(run_id, folder)


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
    """Writer of points into one file; safe for threads, for it connects anew for every batch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, points: Mapping[str, Sequence[Point]]) -> None:
        """Add points by run id, all or none; those that are there already are left as they are.

        Raises:
            sqlite3.Error: the file cannot be written, or there is no such run.
        """
        with sqlite.transaction(self._path) as connection:
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
