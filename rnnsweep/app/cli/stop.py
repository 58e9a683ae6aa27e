"""`rnnsweep stop`: ask the driver of a running sweep to stop."""

from __future__ import annotations

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import Store, SweepName


def stop(sweep: SweepName, store: Store = None) -> None:
    """Ask a running sweep to stop: the rung in progress ends, checkpoints are kept, resume goes on."""
    opened = source.opened(sweep, store)
    if not opened.stop():
        typer.echo(f"Sweep '{sweep}' is not running ({opened.state}); nothing to stop.")
        return
    typer.echo(f"Asked '{sweep}' to stop. Go on later with: rnnsweep resume {sweep}")
