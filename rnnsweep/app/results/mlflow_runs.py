"""MLflow's side of a sweep, as far as the tracker has written it: where it is, run ids and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.mlflow import sqlite_tables
from rnnsweep.app.config.load import from_json
from rnnsweep.app.config.store_urls import UrlFinder
from rnnsweep.app.config.trackers import MLFLOW, tracker_blocks
from rnnsweep.app.results.tables import resolved
from rnnsweep.app.stores import StorePlace, reading_sweep
from rnnsweep.core.checkpoint_paths import trial_folder
from rnnsweep.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView


def tracking_uri(store_place: StorePlace, view: SweepView) -> str:
    """Where the sweep's MLflow runs are.

    Raises:
        ConfigError: at a URL whose password is not known here.
    """
    stored = (resolved(view).get("store") or {}).get("mlflow")
    return UrlFinder(store_place.server).url(stored, "mlflow") or sqlite.url_of(store_place.root / "mlflow.db")


def _known_uri(store_place: StorePlace, view: SweepView) -> str:
    """The same for who can do without; empty where the password is not known."""
    try:
        return tracking_uri(store_place, view)
    except ConfigError:
        return ""


def in_mlflow(store_place: StorePlace, name: str) -> bool:
    """Whether a sweep of the store writes to MLflow."""
    with reading_sweep(store_place, name) as (_, view):
        return is_tracked(view)


def is_tracked(view: SweepView) -> bool:
    """Whether the sweep has MLflow among its trackers."""
    block = resolved(view).get("tracker")
    return block is None or MLFLOW in tracker_blocks(block)


def run_ids(store_place: StorePlace, view: SweepView) -> Mapping[int, str]:
    """Trial number -> MLflow run id; empty where the tracker is off, away or has not written yet."""
    if not is_tracked(view):
        return {}
    uri = _known_uri(store_place, view)
    database = sqlite.path_of(uri)
    return _served(uri, view)[1] if database is None else sqlite_tables.trial_runs(database, view)


def experiment_id(store_place: StorePlace, view: SweepView) -> str | None:
    """MLflow's id of the sweep's experiment; None where it does not exist yet, or the server is away."""
    uri = _known_uri(store_place, view)
    database = sqlite.path_of(uri)
    if database is None:
        return _served(uri, view)[0] or None
    own = sqlite_tables.sweep_run(database, view)
    return None if own is None else own[1]


def _served(uri: str, view: SweepView) -> tuple[str, Mapping[int, str]]:
    """Experiment id and run ids on a server; nothing where it is away or not known."""
    from rnnsweep.adapters.mlflow.store import find_runs

    try:
        return find_runs(uri, view) if uri else ("", {})
    except StoreError:
        return "", {}


def artifacts(store_place: StorePlace, view: SweepView, trial: int, runs: Mapping[int, str]) -> list[str]:
    """Files of a trial: MLflow artifacts and checkpoints, those below the store's root relative to it.

    Of checkpoints at a URL the folder is named alone: to list it may take long, or a password.
    """
    checkpoints = trial_folder(from_json(view.config, store=store_place.root).checkpoints, trial)
    remote = [checkpoints] if "://" in checkpoints else []
    folders = [] if remote else [Path(checkpoints)]
    database = sqlite.path_of(_known_uri(store_place, view))
    if trial in runs and database is not None:
        own = sqlite_tables.artifact_folder(database, runs[trial])
        folders += [own] if own is not None else []
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    root = store_place.root
    named = [str(file.relative_to(root)) if file.is_relative_to(root) else str(file) for file in files]
    return [*remote, *named]
