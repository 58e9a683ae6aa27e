"""`rnnsweep bench`: time per row-update of the engines on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, console, emit


def bench(
    engine: Annotated[str, typer.Option("--engine", help="auto, reference, cpu or gpu.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure one update of one row (T = 100, B = 10, H = 100) against this machine's GEMM rate."""
    from rnnsweep.app.bench import measure

    results = measure(engine)
    if as_json:
        emit(results)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in results[0] if results else ():
        table.add_column(name.replace("_", " "), justify="right")
    for result in results:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in result.values()))
    console().print(table)
