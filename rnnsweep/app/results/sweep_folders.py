"""Folders of the store in which the files of one sweep lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.mlflow import sqlite_tables
from rnnsweep.app.config.load import from_json
from rnnsweep.app.results.mlflow_runs import run_ids, tracking_uri
from rnnsweep.app.results.report_data import folder as report_folder
from rnnsweep.app.stores import StorePlace
from rnnsweep.core.checkpoint_files import local_path
from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView


def sweep_folders(store_place: StorePlace, view: SweepView) -> list[Path]:
    """Checkpoints, report and MLflow artifacts of a sweep, as far as they lie below the store's root and exist."""
    root = store_place.root
    inside = [folder for folder in _folders(store_place, view) if folder.is_relative_to(root)]
    return [folder for folder in dict.fromkeys(inside) if folder.is_dir()]


def _folders(store_place: StorePlace, view: SweepView) -> Iterator[Path]:
    checkpoints = local_path(from_json(view.config, store=store_place.own_root).checkpoints)
    if checkpoints is not None:
        yield Path(checkpoints)
    yield report_folder(store_place, view.name)
    try:
        database = sqlite.path_of(tracking_uri(store_place, view))
    except ConfigError:  # on a server whose password is not known here
        return
    runs = run_ids(store_place, view) if database is not None else {}
    for run in runs.values():
        artifacts = sqlite_tables.artifact_folder(database, run) if database is not None else None
        if artifacts is not None:
            yield artifacts
