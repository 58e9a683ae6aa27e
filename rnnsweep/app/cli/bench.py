"""`rnnsweep bench`: time per row-update of the engines on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, emit


def bench(
    overrides: Annotated[list[str] | None, typer.Argument(help="Config overrides of the measured point.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", help="auto, reference, cpu or gpu; repeatable.")
    ] = None,
    rows: Annotated[list[int] | None, typer.Option("--rows", min=1, help="Rows in all; repeatable.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="At once; default: one per core, on a GPU one.")
    ] = None,
    updates: Annotated[int, typer.Option("--updates", min=1, help="Timed updates per row.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Measure one update of one row (T = 100, B = 10, H = 100) against this machine's GEMM rate."""
    from rnnsweep.app.studies.bench import bench_config, measure

    # Each name as the config takes it: a mistyped one is refused before anything is measured.
    for name in engine or ():
        bench_config([*(overrides or []), f"engine={name}"])
    results = measure(bench_config(overrides or []), engine or ["auto"], rows or [8, 64, 512], processes, updates)
    if as_json:
        emit(list(results))
        return
    # Line by line, not as a table: a machine lent for a while may be taken away before the last one.
    for index, result in enumerate(results):
        if not index:
            typer.echo(_line({name: name.replace("_", " ") for name in result}))
        typer.echo(_line(result))


def _line(values: Mapping[str, object]) -> str:
    """Values below each other's names; none but a note, which comes last, is wider than its column."""
    return "  ".join(_cell(value).rjust(max(len(name), 9)) for name, value in values.items()).rstrip()


def _cell(value: object) -> str:
    if value is None:  # not known
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
