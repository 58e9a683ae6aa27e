"""`rnnsweep ui`: MLflow's UI, or optuna-dashboard, on the store."""

from __future__ import annotations

import subprocess
from typing import Annotated

import typer

from rnnsweep.app.cli.options import Store


def ui(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="Print the link to its comparison.")] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    optuna: Annotated[bool, typer.Option("--optuna", help="Start optuna-dashboard instead.")] = False,
    store: Store = None,
) -> None:
    """Serve the MLflow UI on this machine only, and print the link to a sweep's comparison; Ctrl-C ends it."""
    from rnnsweep.app.results import mlflow_ui as pages
    from rnnsweep.app.results.sweep import place

    where = place(store)
    if optuna:
        command = pages.dashboard_command(where, port)
        typer.echo(f"http://{pages.HOST}:{port}   Ctrl-C ends it.")
        subprocess.run(command, check=False)
        return
    uri = pages.store_uri(where, sweep)
    if uri.startswith("http"):
        typer.echo(f"Served already:\n{pages.links(uri, where, sweep)}")
        return
    process = pages.serve(uri, port)
    try:
        typer.echo(f"{pages.links(f'http://{pages.HOST}:{port}', where, sweep)}\nCtrl-C ends it.")
        process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        process.terminate()
        process.wait(timeout=10)
