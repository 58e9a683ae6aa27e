"""`rnnsweep table`: all trials of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnnsweep.app.cli.options import AsJson, Store, SweepName, console, emit


def table(sweep: SweepName, store: Store = None, as_json: AsJson = False) -> None:
    """Print all trials of a sweep, by number."""
    from rnnsweep.app.results.sweep import open_sweep

    rows = open_sweep(sweep, store=store).table()
    if as_json:
        emit(rows)
    else:
        print_rows(rows)


def print_rows(rows: Sequence[dict[str, Any]], title: str | None = None) -> None:
    """Trials as a table; only searched keys get columns, named without the `controllers.` in front."""
    from rich.table import Table

    keys = list(dict.fromkeys(key for row in rows for key in row["params"]))
    shown = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    shown.add_column("trial", justify="right")
    shown.add_column("state", no_wrap=True)
    for name in ("objective", "solved at", *(key.removeprefix("controllers.") for key in keys), "attempts"):
        shown.add_column(name, justify="right")
    shown.add_column("reason", max_width=60)
    for row in rows:
        params = [_cell(row["params"][key], "off") if key in row["params"] else "–" for key in keys]
        shown.add_row(
            str(row["trial"]),
            row["state"],
            _cell(row["objective"]),
            _cell(row["solved_at"]),
            *params,
            str(row["attempts"]),
            row["reason"].replace("[", r"\["),
        )
    console().print(shown)


def _cell(value: Any, missing: str = "–") -> str:
    if value is None:
        return missing
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("[", r"\[")
