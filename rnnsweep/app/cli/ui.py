"""`rnnsweep ui`: MLflow's UI, or optuna-dashboard, on the store."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import Store
from rnnsweep.errors import StoreError


def ui(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="Print the link to its comparison.")] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    optuna: Annotated[bool, typer.Option("--optuna", help="Start optuna-dashboard instead.")] = False,
    store: Store = None,
) -> None:
    """Serve the MLflow UI on this machine only, for who has the printed link; Ctrl-C ends it."""
    from rnnsweep.app.results import mlflow_ui as pages
    from rnnsweep.app.results.sweep import place

    store_place = place(store)
    uri = "" if optuna else pages.store_uri(store_place, sweep)
    if uri.startswith("http"):
        typer.echo(f"Served already:\n{pages.links(uri, store_place, sweep)}")
        return
    server = pages.serve_dashboard(store_place, port) if optuna else pages.serve(uri, port)
    process, base = server.process, f"http://{pages.HOST}:{server.port}"
    try:
        if server.port != port:
            typer.echo(f"Port {port} is taken; this store is on {server.port}.", err=True)
        typer.echo(f"{pages.links(base, store_place, None if optuna else sweep, server.token)}\nCtrl-C ends it.")
        process.wait()
    except KeyboardInterrupt:
        return
    finally:
        process.terminate()
        process.wait(timeout=10)
    raise StoreError("UI", f"the server at {base} has ended by itself, with status {process.returncode}")
