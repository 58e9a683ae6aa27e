"""`rnnsweep watch`: a sweep on this terminal, live."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import Store, SweepName
from rnnsweep.errors import ConfigError


def watch(
    sweep: SweepName,
    every: Annotated[
        float, typer.Option("--every", metavar="S", min=0.2, max=3600, help="Seconds between looks at the store.")
    ] = 1.0,
    store: Store = None,
) -> None:
    """Watch a sweep on this terminal: table, curves, and keys to pause or end a trial and to stop the sweep."""
    opened = source.opened(sweep, store)
    if not on_terminal():
        hint = f"Without one: rnnsweep logs {sweep} --follow, or rnnsweep status {sweep}."
        raise ConfigError("needs a terminal", key="watch", value=sweep, hint=hint)
    from rnnsweep.app.watch.opening import show_live

    show_live(opened, every)


def on_terminal() -> bool:
    """Whether there is a screen to draw on and a keyboard to hear."""
    return sys.stdin.isatty() and sys.stdout.isatty()
