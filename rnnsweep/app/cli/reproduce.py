"""`rnnsweep reproduce`: published tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rnnsweep.app.cli.options import AsJson, console, emit
from rnnsweep.errors import ConfigError, nearest

if TYPE_CHECKING:
    from rnnsweep.report.published import Table


def reproduce(
    paper: Annotated[str | None, typer.Argument(metavar="[PAPER]", help="Lists the tables without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a published table to stand beside a sweep of your own; without PAPER, list them."""
    from rnnsweep.report.published import TABLES

    if paper is None:
        if as_json:
            emit([{"name": table.name, "title": table.title, "source": table.source} for table in TABLES.values()])
        else:
            typer.echo("\n".join(f"{name:<22} {table.title}" for name, table in TABLES.items()))
        return
    if paper not in TABLES:
        raise ConfigError("unknown table", key="PAPER", value=paper, allowed=list(TABLES), hint=nearest(paper, TABLES))
    table = TABLES[paper]
    if as_json:
        cells = {row: {column: _shown(table, row, column) for column in table.columns} for row in table.rows}
        emit({"name": table.name, "unit": table.unit, "source": table.source, "published": cells})
    else:
        _print(table)


def _shown(table: Table, row: str, column: str) -> str | None:
    cell = table.cell(row, column)
    return cell.shown if cell else None


def _print(table: Table) -> None:
    from rich.table import Table as RichTable

    shown = RichTable(box=None, pad_edge=False, header_style="bold", title=table.title, title_justify="left")
    shown.add_column("")
    for column in table.columns:
        shown.add_column(column, justify="right")
    for row in table.rows:
        shown.add_row(row, *(_shown(table, row, column) or "" for column in table.columns))
    console().print(shown)
    typer.echo(f"{table.unit}. {table.source}")
