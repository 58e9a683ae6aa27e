"""`rnnsweep ui`: MLflow's UI, or optuna-dashboard, on the store."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rnnsweep.adapters import sqlite
from rnnsweep.app.cli.options import Store
from rnnsweep.app.stores import StorePlace, place, reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.extras import install_hint

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView

HOST = "127.0.0.1"
COMPARED = 100
"""Runs in the comparison link: a browser takes no endless URL."""


def ui(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="Print the link to its comparison.")] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    optuna: Annotated[bool, typer.Option("--optuna", help="Start optuna-dashboard instead.")] = False,
    store: Store = None,
) -> None:
    """Serve the MLflow UI on this machine only, and print the link to a sweep's comparison; Ctrl-C ends it."""
    where = place(store)
    if optuna:
        _dashboard(where, port)
        return
    view = _view(where, sweep) if sweep else None
    uri = _uri(where, view)
    from rnnsweep.adapters.mlflow.server import serve

    if uri.startswith("http"):
        typer.echo(f"Served already:\n{links(uri, where, view)}")
        return
    process = serve(uri, HOST, port)
    try:
        typer.echo(f"{links(f'http://{HOST}:{port}', where, view)}\nCtrl-C ends it.")
        process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        process.terminate()
        process.wait(timeout=10)


def _view(where: StorePlace, sweep: str) -> SweepView:
    with reading_sweep(where, sweep) as (_, view):
        return view


def _uri(where: StorePlace, view: SweepView | None) -> str:
    """Tracking URI of the sweep, or of the store.

    Raises:
        ConfigError: the store has no MLflow database yet.
    """
    from rnnsweep.app.results.mlflow_runs import tracking_uri

    own = where.root / "mlflow.db"
    uri = tracking_uri(where, view) if view else sqlite.url_of(own)
    if uri == sqlite.url_of(own) and not own.is_file():
        hint = "Launch a sweep first, or name its store with --store."
        raise ConfigError("no MLflow runs in this store", key="--store", value=str(where.root), hint=hint)
    return uri


def links(base: str, where: StorePlace, view: SweepView | None) -> str:
    """The UI's address, and the deep links to a sweep."""
    if view is None:
        return base
    from rnnsweep.adapters.mlflow.server import comparison_link, experiment_link
    from rnnsweep.app.results.mlflow_runs import experiment_id, run_ids

    runs, experiment = run_ids(where, view), experiment_id(where, view)
    if experiment is None:
        return f"{base}\nThe sweep '{view.name}' has no runs there yet."
    told = f"trials    {experiment_link(base, experiment)}"
    told += f"\ncurves    {experiment_link(base, experiment, charts=True)}"
    chosen = [runs[number] for number in _best_first(where, view) if number in runs][:COMPARED]
    if chosen:
        told += f"\ncompare   {comparison_link(base, experiment, chosen)}"
    return told


def _best_first(where: StorePlace, view: SweepView) -> list[int]:
    """Trial numbers: complete ones by objective, then all others by number."""
    from rnnsweep.app.results.tables import ranked

    with reading_sweep(where, view.name) as (ledger, now):
        trials = ledger.trials(view.name)
        best = [trial.number for trial in ranked(now, trials)]
    return [*best, *(trial.number for trial in trials if trial.number not in set(best))]


def _dashboard(where: StorePlace, port: int) -> None:
    command = shutil.which("optuna-dashboard", path=f"{sys.prefix}/bin") or shutil.which("optuna-dashboard")
    if command is None:
        raise ConfigError("optuna-dashboard is not installed", key="--optuna", hint=install_hint("dashboard"))
    database = where.root / "optuna.db"
    if not database.is_file():
        raise ConfigError("no optuna.db in this store", key="--store", value=str(where.root))
    typer.echo(f"http://{HOST}:{port}   Ctrl-C ends it.")
    subprocess.run([command, sqlite.url_of(database), "--host", HOST, "--port", str(port)], check=False)
