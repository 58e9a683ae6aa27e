"""The pages that other projects' servers show of a store: MLflow's UI and optuna-dashboard, on this machine only."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.dependent import DependentProcess
from rnnsweep.app.results.mlflow_runs import experiment_id, tracking_uri
from rnnsweep.app.stores import StorePlace, reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.extras import install_hint

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView

HOST = "127.0.0.1"


def store_uri(store_place: StorePlace, sweep: str | None) -> str:
    """Tracking URI of the sweep, or of the store.

    Raises:
        ConfigError: no such sweep, or the store has no MLflow database yet.
    """
    own = store_place.root / "mlflow.db"
    uri = tracking_uri(store_place, _view(store_place, sweep)) if sweep else sqlite.url_of(own)
    if uri == sqlite.url_of(own) and not own.is_file():
        hint = "Launch a sweep first, or name its store with --store."
        raise ConfigError("no MLflow runs in this store", key="--store", value=str(store_place.root), hint=hint)
    return uri


def serve(uri: str, wanted: int) -> tuple[DependentProcess, int]:
    """Start MLflow's UI at the wanted port, or the next free one, and wait until it answers.

    Returns:
        The server, which ends with this process, and its port.

    Raises:
        StoreError: it does not come up.
    """
    from rnnsweep.adapters.mlflow.server import free_port
    from rnnsweep.adapters.mlflow.server import serve as serve_store
    from rnnsweep.adapters.mlflow.sqlite_tables import relocate

    database = sqlite.path_of(uri)
    if database is not None:  # a store that was copied shows its own artifacts, not those of the original
        relocate(database, database.parent / "artifacts")
    port = free_port(wanted, HOST)
    return serve_store(uri, HOST, port), port


def serve_dashboard(store_place: StorePlace, wanted: int) -> tuple[DependentProcess, int]:
    """As `serve`, with optuna-dashboard.

    Raises:
        ConfigError: it is not installed, or the store has no optuna.db.
    """
    from rnnsweep.adapters.mlflow.server import free_port

    command = dashboard_command(store_place, wanted)
    port = free_port(wanted, HOST)
    return DependentProcess([*command[:-1], str(port)]), port


def links(base: str, store_place: StorePlace, sweep: str | None) -> str:
    """The UI's address, and the deep links to a sweep."""
    if sweep is None:
        return base
    from rnnsweep.adapters.mlflow.server import experiment_link

    experiment = experiment_id(store_place, _view(store_place, sweep))
    if experiment is None:
        return f"{base}\nThe sweep '{sweep}' has no runs there yet."
    return "\n".join(
        [
            f"trials    {experiment_link(base, experiment)}",
            f"compare   {experiment_link(base, experiment, charts=True)}",
        ]
    )


def _view(store_place: StorePlace, sweep: str) -> SweepView:
    with reading_sweep(store_place, sweep) as (_, view):
        return view


def dashboard_command(store_place: StorePlace, port: int) -> list[str]:
    """The command that serves optuna-dashboard on the store.

    Raises:
        ConfigError: it is not installed, or the store has no optuna.db.
    """
    command = shutil.which("optuna-dashboard", path=f"{sys.prefix}/bin") or shutil.which("optuna-dashboard")
    if command is None:
        raise ConfigError("optuna-dashboard is not installed", key="--optuna", hint=install_hint("dashboard"))
    database = store_place.root / "optuna.db"
    if not database.is_file():
        raise ConfigError("no optuna.db in this store", key="--store", value=str(store_place.root))
    return [command, sqlite.url_of(database), "--host", HOST, "--port", str(port)]
