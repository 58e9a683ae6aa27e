"""`rnnsweep stop`: ask the driver of a running sweep to stop, or to end some of its trials."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import Reason, Store, SweepName
from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.app.remote.remote_sweep import RemoteSweep
    from rnnsweep.app.results.sweep import Sweep


def stop(
    sweep: SweepName,
    trial: Annotated[
        list[int] | None,
        typer.Option("--trial", metavar="N", min=0, help="End this trial only, at its last rung; may be repeated."),
    ] = None,
    reason: Reason = "",
    store: Store = None,
) -> None:
    """Ask a running sweep to stop, so that resume goes on; with --trial, end a trial for good, not the rest."""
    opened = source.opened(sweep, store)
    if trial:
        opened.request("end_trial", trial, reason)
        say(opened, "to end", trial)
        return
    if reason:
        raise ConfigError("is kept with a trial: name one with --trial", key="--reason", value=reason)
    if not opened.stop():
        typer.echo(f"Sweep '{sweep}' is not running ({opened.state}); nothing to stop.")
        return
    typer.echo(f"Asked '{sweep}' to stop. Go on later with: rnnsweep resume {sweep}")


def say(sweep: Sweep | RemoteSweep, what: str, trials: Sequence[int]) -> None:
    """Say what was asked of which trials, and when it is done."""
    named = f"trial{'s' if len(trials) > 1 else ''} {', '.join(map(str, trials))}"
    typer.echo(f"Asked '{sweep.name}' {what} {named}.")
    state = sweep.state
    if state != "RUNNING":
        go_on = shlex.join(["rnnsweep", "resume", sweep.name, *sweep.option])
        typer.echo(f"It does not run ({state}) and hears of it when it goes on: {go_on}")
