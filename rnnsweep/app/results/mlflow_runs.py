"""MLflow's side of a sweep, as far as the tracker has written it: run ids and artifacts.

An embedded store is read straight from its tables: importing MLflow costs two seconds, which `table` shall not.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.app.config.load import from_json
from rnnsweep.app.results.tables import resolved
from rnnsweep.app.stores import StorePlace
from rnnsweep.core.checkpoint_paths import trial_folder
from rnnsweep.errors import StoreError

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView

_RUNS = """
    SELECT trial.value, trial.run_uuid FROM tags AS trial
    JOIN tags AS sweep ON sweep.run_uuid = trial.run_uuid AND sweep.key = 'rnnsweep.sweep' AND sweep.value = ?
    JOIN runs ON runs.run_uuid = trial.run_uuid AND runs.lifecycle_stage = 'active'
    WHERE trial.key = 'rnnsweep.trial' ORDER BY runs.start_time DESC
"""


def tracking_uri(where: StorePlace, view: SweepView) -> str:
    """Where the sweep's MLflow runs are."""
    block = resolved(view).get("store") or {}
    return block.get("mlflow") or sqlite.url_of(where.root / "mlflow.db")


def run_ids(where: StorePlace, view: SweepView) -> Mapping[int, str]:
    """Trial number -> MLflow run id; empty where the tracker is off, away or has not written yet."""
    if (resolved(view).get("tracker") or {}).get("kind") == "none":
        return {}
    uri = tracking_uri(where, view)
    database = sqlite.path_of(uri)
    if database is None:
        return _served(uri, view)
    rows = _query(database, _RUNS, view.name)
    return {int(trial): run for trial, run in reversed(rows)}


def _served(uri: str, view: SweepView) -> Mapping[int, str]:
    return _found(uri, view)[1]


def _found(uri: str, view: SweepView) -> tuple[str, Mapping[int, str]]:
    """Experiment id and run ids on a server; nothing where it is away."""
    from rnnsweep.adapters.mlflow.store import find_runs

    try:
        return find_runs(uri, view.name)
    except StoreError:
        return "", {}


def artifacts(where: StorePlace, view: SweepView, trial: int, runs: Mapping[int, str]) -> list[str]:
    """Files of a trial: MLflow artifacts and checkpoints, those below the store's root relative to it.

    Of checkpoints at a URL the folder is named alone: to list it may take long, or a password.
    """
    checkpoints = trial_folder(from_json(view.config, store=where.root).checkpoints, trial)
    remote = [checkpoints] if "://" in checkpoints else []
    folders = [] if remote else [Path(checkpoints)]
    database = sqlite.path_of(tracking_uri(where, view))
    if trial in runs and database is not None:
        found = _query(database, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", runs[trial])
        folders += [_local(row[0]) for row in found]
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    named = [str(file.relative_to(where.root)) if file.is_relative_to(where.root) else str(file) for file in files]
    return [*remote, *named]


def _local(uri: str) -> Path:
    return Path(urllib.request.url2pathname(urllib.parse.urlparse(uri).path))


def _query(database: Path, query: str, value: str) -> list[tuple[str, ...]]:
    if not database.is_file():
        return []
    try:
        with closing(
            sqlite3.connect(f"file:{urllib.parse.quote(str(database))}?mode=ro", uri=True, timeout=5)
        ) as found:
            return found.execute(query, (value,)).fetchall()
    except sqlite3.Error:  # not migrated yet, or being so: the ids come with the next look
        return []


def experiment_id(where: StorePlace, view: SweepView) -> str | None:
    """MLflow's id of the sweep's experiment; None where it does not exist yet, or the server is away."""
    uri = tracking_uri(where, view)
    database = sqlite.path_of(uri)
    if database is None:
        return _found(uri, view)[0] or None
    query = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
    rows = _query(database, query, view.name)
    return str(rows[0][0]) if rows else None
