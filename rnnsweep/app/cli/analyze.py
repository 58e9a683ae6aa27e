"""`rnnsweep analyze`: analyses of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnsweep.app.cli.options import Overrides


def analyze(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Lists what there is without it.")] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to.  [default: analyses/NAME]", show_default=False),
    ] = None,
) -> None:
    """Run an analysis of the papers: a figure and its data; without NAME, list them."""
    from rnnsweep.app.studies import analyses

    if name is None:
        typer.echo("\n".join(f"{key:<16} {text}" for key, text in analyses.names().items()))
        return
    for file in analyses.analyze(name, list(overrides or ()), out):
        typer.echo(str(file))
