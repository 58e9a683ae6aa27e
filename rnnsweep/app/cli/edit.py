"""`rnnsweep edit`: change what a sweep searches while it lives, or tell what was changed."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.listing import printable
from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.app.results.tables import edit_lines


def edit(
    sweep: SweepName,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=RANGE | ~KEY | KEY=VALUE]...",
            help="Search a key, or in another range; search it no longer; budget.trials=N, pruner=NAME.",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Change what a sweep searches while it lives; without overrides, tell what was changed, when and by whom."""
    opened = source.opened(sweep, store)
    if overrides:
        opened.edit(*overrides)
        typer.echo(f"Asked '{sweep}' to edit: {printable(' '.join(overrides))}")
        state = opened.state
        if state != "RUNNING":
            go_on = shlex.join(["rnnsweep", "resume", sweep, *opened.option])
            typer.echo(f"It does not run ({state}) and hears of it when it goes on: {go_on}")
        return
    entries = opened.edits()
    if as_json:
        emit(entries)
        return
    for line in edit_lines(entries):
        typer.echo(printable(line))
    if not entries:
        typer.echo(f"Sweep '{sweep}' searches what it was launched with.")
