"""`rnnsweep report`: figures and tables of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import Store, SweepName


def report(
    sweep: SweepName,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to.  [default: STORE/reports/SWEEP]", show_default=False),
    ] = None,
    formats: Annotated[
        str,
        typer.Option("--format", metavar="svg,pdf", help="Figures for papers, beside the PNG.", show_default=False),
    ] = "",
    store: Store = None,
) -> None:
    """Write one self-contained page with figures and tables; works on a running sweep."""
    wanted = [word.strip().lower() for word in formats.split(",") if word.strip()]
    opened = source.opened(sweep, store)
    page = opened.report(out, wanted)
    if not hasattr(opened, "place"):  # a service draws figures and tables beside its own store
        typer.echo(page)
        return
    pictures, tables = len(list(page.parent.glob("*.png"))), len(list(page.parent.glob("*.csv")))
    kinds = ", ".join(dict.fromkeys(["PNG", *(word.upper() for word in wanted)]))
    typer.echo(f"{page}\n{pictures} figures ({kinds}) and {tables} tables (CSV) beside it")
