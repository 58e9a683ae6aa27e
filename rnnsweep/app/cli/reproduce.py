"""`rnnsweep reproduce`: published tables, and ours beside them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnsweep.app.cli.options import AcceptChanges, AsJson, Overrides, Store, console, emit
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.wording import counted


def reproduce(
    paper: Annotated[str | None, typer.Argument(metavar="[PAPER]", help="Lists the tables without it.")] = None,
    overrides: Overrides = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="smoke|small|medium|full",
            help="Run it: seconds, minutes, hours, or as published (days).",
        ),
    ] = None,
    accept_changes: AcceptChanges = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Run a paper's sweeps and put the published table beside ours; without --scale, print the published table."""
    from rnnsweep.app.studies.papers import TABLES

    if paper is None:
        _list(as_json)
        return
    if paper not in TABLES:
        raise ConfigError("unknown table", key="PAPER", value=paper, allowed=list(TABLES), hint=nearest(paper, TABLES))
    if scale is not None:
        _run(paper, scale, list(overrides or ()), store, as_json=as_json, accept_changes=accept_changes)
        return
    table = TABLES[paper]
    if as_json:
        cells = {row: {column: _published(table, row, column) for column in table.columns} for row in table.rows}
        emit({"name": table.name, "unit": table.unit, "source": table.source, "published": cells})
    else:
        _print(table, lambda row, column: _published(table, row, column) or "")


def _list(as_json: bool) -> None:
    from rnnsweep.app.studies.papers import PAPERS, TABLES

    if as_json:
        rows = [
            {"name": t.name, "title": t.title, "source": t.source, "runs": t.name in PAPERS} for t in TABLES.values()
        ]
        emit(rows)
        return
    for name, table in TABLES.items():
        typer.echo(f"{name:<22} {'runs' if name in PAPERS else '    '}  {table.title}")


def _run(
    paper: str, scale: str, overrides: list[str], store: str | None, *, as_json: bool, accept_changes: bool
) -> None:
    from rnnsweep.app.studies import reproduce as study

    task = study.prepare(paper, scale, overrides, store)
    trainings = sum(study.rows_of(config) for config in task.configs.values())
    seconds = study.estimate(task)
    sweeps = len(task.configs)
    size = f"{counted(trainings, 'training')} in {counted(sweeps, 'sweep')}"
    typer.echo(f"{size}: at most {_duration(seconds)} on this machine.", err=True)
    outcome = study.run(task, accept_changes=accept_changes)
    comparison = study.collect(task)
    command = " ".join(["rnnsweep reproduce", paper, f"--scale {scale}", *(f"'{text}'" for text in overrides)])
    files = study.save(task, comparison, command)
    if as_json:
        emit(_plain(comparison))
    else:
        _print(comparison.table, lambda row, column: _beside(comparison, row, column), comparison.unit)
        typer.echo("published / ours [95 % interval]; cells without a number of ours were not run\n")
        typer.echo("".join(f"{answer}\n\n" for answer in comparison.answers), nl=False)
        typer.echo("\n".join(f"deviation  {text}" for text in comparison.deviations))
        typer.echo("\n".join(f"file       {file}" for file in files))
    if outcome is not None:
        typer.echo(f"\nNot finished ({outcome.state.value}); go on with: {command}", err=True)
        raise typer.Exit(outcome.exit_code or 1)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _plain(comparison: Any) -> dict[str, Any]:
    cells = [vars(cell) for cell in comparison.cells]
    return {
        "name": comparison.table.name,
        "scale": comparison.scale,
        "unit": comparison.unit,
        "source": comparison.table.source,
        "cells": cells,
        "answers": list(comparison.answers),
        "deviations": list(comparison.deviations),
    }


def _beside(comparison: Any, row: str, column: str) -> str:
    cell = comparison.cell(row, column)
    return f"{cell.published or '–'} / {cell.text}"


def _published(table: Any, row: str, column: str) -> str | None:
    cell = table.cell(row, column)
    return cell.printed if cell else None


def _print(table: Any, text: Any, unit: str = "") -> None:
    from rich.table import Table as RichTable

    grid = RichTable(box=None, pad_edge=False, header_style="bold", title=table.title, title_justify="left")
    grid.add_column("")
    for column in table.columns:
        grid.add_column(column, justify="right")
    for row in table.rows:
        grid.add_row(row, *(text(row, column).replace("[", r"\[") for column in table.columns))
    console().print(grid)
    typer.echo(f"{unit or table.unit}. {table.source}")
