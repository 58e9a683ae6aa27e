"""MLflow's own tables, read and moved without MLflow: importing it costs two seconds, which `table` shall not.

    experiments ──< runs ──< tags        a sweep's run and its trials' runs are told by our tags
                          ──< metrics    counted, to see whether some were deleted

Only embedded stores (SQLite files) can be read this way; `store` asks servers through MLflow's client.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rnnsweep.adapters import sqlite
from rnnsweep.sweep.views import SweepView

KIND, TRIAL, SWEEP, IDENTITY = "rnnsweep.kind", "rnnsweep.trial", "rnnsweep.sweep", "rnnsweep.identity"
PARENT = "mlflow.parentRunId"

_SWEEP_RUNS = f"""
    SELECT runs.run_uuid, runs.experiment_id, runs.start_time, identity.value FROM runs
    JOIN tags AS kind ON kind.run_uuid = runs.run_uuid AND kind.key = '{KIND}' AND kind.value = 'sweep'
    JOIN tags AS sweep ON sweep.run_uuid = runs.run_uuid AND sweep.key = '{SWEEP}' AND sweep.value = ?
    LEFT JOIN tags AS identity ON identity.run_uuid = runs.run_uuid AND identity.key = '{IDENTITY}'
    WHERE runs.lifecycle_stage = 'active' ORDER BY runs.start_time
"""
_TRIAL_RUNS = f"""
    SELECT trial.value, trial.run_uuid FROM tags AS trial
    JOIN tags AS parent ON parent.run_uuid = trial.run_uuid AND parent.key = '{PARENT}' AND parent.value = ?
    JOIN runs ON runs.run_uuid = trial.run_uuid AND runs.lifecycle_stage = 'active'
    WHERE trial.key = '{TRIAL}' ORDER BY runs.start_time DESC
"""


def owns(sweep: SweepView, identity: str | None, started_ms: int | None) -> bool:
    """Whether a sweep's run in MLflow is this sweep's own, and not that of another store's sweep of the same name.

    Args:
        sweep: as its ledger has it.
        identity: the run's tag; None where an older rnnsweep wrote it: then the moment of creation tells.
        started_ms: start of the run, ms since the epoch.
    """
    return identity == sweep.identity if identity else started_ms == int(sweep.created * 1000)


def sweep_run(database: Path, sweep: SweepView) -> tuple[str, str] | None:
    """(run id, experiment id) of a sweep's own run; None where it does not exist yet."""
    for run_id, experiment, started, identity in _query(database, _SWEEP_RUNS, sweep.name):
        if owns(sweep, identity, started):
            return run_id, str(experiment)
    return None


def trial_runs(database: Path, sweep: SweepView) -> dict[int, str]:
    """Trial number -> run id, as far as the tracker has written."""
    own = sweep_run(database, sweep)
    if own is None:
        return {}
    return {int(trial): run_id for trial, run_id in reversed(_query(database, _TRIAL_RUNS, own[0]))}


def artifact_folder(database: Path, run_id: str) -> Path | None:
    """Where a run's artifacts are; None where there is no such run."""
    rows = _query(database, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)
    return Path(urllib.request.url2pathname(urllib.parse.urlparse(rows[0][0]).path)) if rows else None


def points_by_curve(database: Path) -> Mapping[tuple[str, str], int]:
    """(run id, metric) -> number of points that the curve has."""
    rows = _query(database, "SELECT run_uuid, key, COUNT(*) FROM metrics GROUP BY run_uuid, key")
    return {(run_id, key): count for run_id, key, count in rows}


def _query(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    if not database.is_file():
        return []
    address = f"file:{urllib.parse.quote(str(database))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error:  # not migrated yet, or being so: the ids come with the next look
        return []


def relocate(database: Path, artifacts: Path, experiment: str | None = None) -> int:
    """Point experiments of a store that was copied or moved to the artifacts beside it; returns how many.

    MLflow keeps absolute paths, so that a copy would go on to write into the original. An experiment is moved where
    its artifacts lie in ``artifacts/NAME`` of another root.

    Args:
        database: of the store.
        artifacts: the folder that the store's artifacts lie in now.
        experiment: this one alone, whose sweep's config says so; None: all whose artifacts have come along.
    """
    moved = []
    for key, name, place in _query(database, "SELECT experiment_id, name, artifact_location FROM experiments"):
        before, now = str(place).rstrip("/"), f"{artifacts}/{name}"
        elsewhere = before != now and before.endswith(f"/{artifacts.name}/{name}")
        if elsewhere and (Path(now).is_dir() if experiment is None else name == experiment):
            moved.append((key, before, now))
    if moved:
        with sqlite.transaction(database) as connection:
            for key, before, now in moved:
                connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (now, key))
                connection.execute(
                    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                    "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                    (now, len(before) + 1, key, len(before) + 1, f"{before}/"),
                )
    return len(moved)
