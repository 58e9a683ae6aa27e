"""`rnnsweep stop`: ask the driver of a running sweep to stop."""

from __future__ import annotations

import typer

from rnnsweep.app.cli.options import Store, SweepName
from rnnsweep.app.stores import place, reading_sweep
from rnnsweep.sweep.states import SweepState


def stop(sweep: SweepName, store: Store = None) -> None:
    """Ask a running sweep to stop: the rung in progress ends, checkpoints are kept, resume goes on."""
    from rnnsweep.app.results.tables import standing

    with reading_sweep(place(store), sweep) as (ledger, found):
        view = standing(ledger, found)
        if view.state is not SweepState.RUNNING:
            typer.echo(f"Sweep '{sweep}' is not running ({view.state.value}); nothing to stop.")
            return
        ledger.post(sweep, "stop")
    typer.echo(f"Asked '{sweep}' to stop. Go on later with: rnnsweep resume {sweep}")
