"""`rnnsweep logs`: what happened in a sweep, from the ledger's journal."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.listing import printable
from rnnsweep.app.cli.options import Store, SweepName
from rnnsweep.app.results.log_lines import LogLines

if TYPE_CHECKING:
    from rnnsweep.app.remote.remote_sweep import RemoteSweep
    from rnnsweep.app.results.sweep import Sweep

PERIOD_S = 0.5


def logs(
    sweep: SweepName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the sweep ends.")] = False,
    store: Store = None,
) -> None:
    """Print what happened in a sweep, oldest first."""
    opened, lines = source.opened(sweep, store), LogLines()
    seen = _print_new(opened, lines, 0)
    while follow and opened.state == "RUNNING":
        time.sleep(PERIOD_S)
        seen = _print_new(opened, lines, seen)
    if follow:
        _print_new(opened, lines, seen)  # what was written between the last look and the end


def _print_new(sweep: Sweep | RemoteSweep, lines: LogLines, seen: int) -> int:
    """Print entries after `seen`; returns the last one's number."""
    while changes := sweep.log(seen):
        for change in changes:
            for text in lines.of(change):
                when = datetime.fromtimestamp(change.at).strftime("%Y-%m-%d %H:%M:%S")
                typer.echo(f"{when}  {printable(text)}")
            seen = change.seq
    return seen
