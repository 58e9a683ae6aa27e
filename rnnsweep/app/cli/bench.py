"""`rnnsweep bench`: time per row-update of the engines on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, console, emit


def bench(
    overrides: Annotated[list[str] | None, typer.Argument(help="Config overrides of the measured point.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", help="auto, reference, cpu or gpu; repeatable.")
    ] = None,
    rows: Annotated[list[int] | None, typer.Option("--rows", min=1, help="Rows in all; repeatable.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1, help="At once; default: one per core.")] = None,
    updates: Annotated[int, typer.Option("--updates", min=1, help="Timed updates per row.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Measure one update of one row (T = 100, B = 10, H = 100) against this machine's GEMM rate."""
    import os

    from rnnsweep.app.studies.bench import bench_config, measure

    at_once = processes or os.cpu_count() or 1
    results = measure(bench_config(overrides or []), engine or ["auto"], rows or [8, 64, 512], at_once, updates)
    if as_json:
        emit(results)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in results[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for result in results:
        table.add_row(*(_cell(value) for value in result.values()))
    console().print(table)


def _cell(value: object) -> str:
    if value is None:  # not known
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
