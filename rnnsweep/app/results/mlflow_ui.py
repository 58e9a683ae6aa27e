"""The pages that other projects' servers show of a store: MLflow's UI and optuna-dashboard, on this machine only."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.dependent import DependentProcess
from rnnsweep.adapters.gate import VARIABLE, with_token
from rnnsweep.adapters.mlflow.gated_ui import COMPARISON, TRIALS, short_path
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


@dataclass(frozen=True)
class Pages:
    """A server that was started.

    Attributes:
        process: it ends with this one.
        port: on loopback.
        token: who has it is let in.
    """

    process: DependentProcess
    port: int
    token: str = field(repr=False)


def new_token() -> str:
    """A word that nobody guesses, for one server."""
    return secrets.token_urlsafe(32)


def serve(uri: str, wanted: int) -> Pages:
    """Start MLflow's UI at the wanted port, or the next free one, and wait until it answers.

    Raises:
        StoreError: it does not come up.
    """
    from rnnsweep.adapters.mlflow.server import free_port
    from rnnsweep.adapters.mlflow.server import serve as serve_store
    from rnnsweep.adapters.mlflow.sqlite_tables import relocate

    database = sqlite.path_of(uri)
    if database is not None:  # a store that was copied shows its own artifacts, not those of the original
        relocate(database, database.parent / "artifacts")
    port, token = free_port(wanted, HOST), new_token()
    return Pages(serve_store(uri, HOST, port, token=token), port, token)


def serve_dashboard(store_place: StorePlace, wanted: int) -> Pages:
    """As `serve`, with optuna-dashboard.

    Raises:
        ConfigError: it is not installed, or the store has no optuna.db.
    """
    from rnnsweep.adapters.mlflow.server import free_port

    command = dashboard_command(store_place, wanted)
    port, token = free_port(wanted, HOST), new_token()
    process = DependentProcess([*command[:-1], str(port)], {**os.environ, VARIABLE: token})
    return Pages(process, port, token)


def links(base: str, store_place: StorePlace, sweep: str | None, token: str = "") -> str:
    """The UI's address, and the deep links to a sweep; with the token of a server of ours, without for others'."""
    entrance = with_token(base, token) if token else base
    if sweep is None:
        return entrance
    from rnnsweep.adapters.mlflow.server import experiment_link

    experiment = experiment_id(store_place, _view(store_place, sweep))
    if experiment is None:
        return f"{entrance}\nThe sweep '{sweep}' has no runs there yet."
    if token:
        places = [with_token(base + short_path(kind, experiment), token) for kind in (TRIALS, COMPARISON)]
    else:
        places = [experiment_link(base, experiment, charts=charts) for charts in (False, True)]
    return "\n".join(f"{word:10}{place}" for word, place in zip((TRIALS, COMPARISON), places, strict=True))


def _view(store_place: StorePlace, sweep: str) -> SweepView:
    with reading_sweep(store_place, sweep) as (_, view):
        return view


def dashboard_command(store_place: StorePlace, port: int) -> list[str]:
    """The command that serves optuna-dashboard on the store.

    Raises:
        ConfigError: it is not installed, or the store has no optuna.db.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise ConfigError("optuna-dashboard is not installed", key="--optuna", hint=install_hint("dashboard"))
    database = store_place.root / "optuna.db"
    if not database.is_file():
        raise ConfigError("no optuna.db in this store", key="--store", value=str(store_place.root))
    return [sys.executable, "-m", "rnnsweep.adapters.optuna.gated_dashboard", sqlite.url_of(database), HOST, str(port)]
