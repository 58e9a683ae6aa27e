"""`rnnsweep logs`: what happened in a sweep, from the ledger's journal."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnsweep.app.cli.options import Store, SweepName

if TYPE_CHECKING:
    from rnnsweep.app.results.sweep import Sweep

PERIOD_S = 0.5


def logs(
    sweep: SweepName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the sweep ends.")] = False,
    store: Store = None,
) -> None:
    """Print what happened in a sweep, oldest first."""
    from rnnsweep.app.results.sweep import open_sweep

    opened = open_sweep(sweep, store=store)
    seen = _print_new(opened, 0)
    while follow and opened.state == "RUNNING":
        time.sleep(PERIOD_S)
        seen = _print_new(opened, seen)
    if follow:
        _print_new(opened, seen)  # what was written between the last look and the end


def _print_new(sweep: Sweep, seen: int) -> int:
    """Print entries after `seen`; returns the last one's number."""
    while changes := sweep.log(seen):
        for change in changes:
            typer.echo(line(change))
            seen = change.seq
    return seen


def line(change: Any) -> str:
    """One journal entry in words."""
    data, when = change.data, datetime.fromtimestamp(change.at).strftime("%Y-%m-%d %H:%M:%S")
    who = f"trial {change.trial}" if change.trial is not None else change.kind
    if change.kind == "rung":
        values = " ".join(f"{value:.4g}" for value in data.get("values", ()))
        what = f"rung {data.get('rung')} at update {data.get('step')}: {values}"
    elif change.kind == "trial":
        values = " ".join(f"{value:.4g}" for value in data.get("values", ()))
        what = " ".join(part for part in (str(data.get("state", "")), values, str(data.get("reason", ""))) if part)
    elif change.kind == "sweep":
        what = " ".join(part for part in (str(data.get("state", "")), str(data.get("reason", ""))) if part)
    else:
        what = " ".join(f"{key}={value}" for key, value in data.items() if not isinstance(value, dict))
    return f"{when}  {who}: {what}"
