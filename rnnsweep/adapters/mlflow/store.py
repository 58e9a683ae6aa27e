"""MLflow's client with the few calls that the tracker needs; what goes wrong is a `StoreError`, to be tried again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.tracking import MlflowClient

from rnnsweep.adapters.mlflow.points import Point, sqlite_points
from rnnsweep.errors import StoreError

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
