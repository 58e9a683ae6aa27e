"""`rnnsweep unpause`: let paused trials go on."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import Store, SweepName
from rnnsweep.app.cli.stop import say


def unpause(
    sweep: SweepName,
    trial: Annotated[list[int], typer.Option("--trial", metavar="N", min=0, help="Which; may be repeated.")],
    store: Store = None,
) -> None:
    """Let paused trials go on from their checkpoints, before those that have never begun."""
    opened = source.opened(sweep, store)
    opened.request("unpause_trial", trial)
    say(opened, "to let go on:", trial)
