"""`rnnsweep pause`: let trials of a sweep rest."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import Reason, Store, SweepName
from rnnsweep.app.cli.stop import say


def pause(
    sweep: SweepName,
    trial: Annotated[list[int], typer.Option("--trial", metavar="N", min=0, help="Which; may be repeated.")],
    reason: Reason = "",
    store: Store = None,
) -> None:
    """Let trials rest: they give up their places, keep their checkpoints, and wait for unpause."""
    opened = source.opened(sweep, store)
    opened.request("pause_trial", trial, reason)
    say(opened, "to pause", trial)
