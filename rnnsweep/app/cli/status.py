"""`rnnsweep status`: how a sweep stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.listing import Column, print_table, printable, terminal_width
from rnnsweep.app.cli.options import AsJson, Store, emit
from rnnsweep.app.results.tables import as_typed, score_text

STATES = ("complete", "pruned", "failed", "running", "waiting", "paused")


def status(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="All sweeps without it.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show how a sweep stands: trials by state, best so far, updates per second."""
    if sweep is None:
        print_all(store, as_json)
        return
    entry = source.opened(sweep, store).status()
    if as_json:
        emit(entry)
    else:
        _print([entry])
        _print_best(entry)


def print_all(store: str | None, as_json: bool) -> None:
    """All sweeps; an absent store has none."""
    entries, place = source.statuses(store)
    if as_json:
        emit(entries)
    elif entries:
        _print(entries)
    else:
        typer.echo(f"No sweeps in {place}. Start one with: rnnsweep launch quickstart")


def _print(entries: list[dict[str, Any]]) -> None:
    numbers = {state: [entry["trials"][state] for entry in entries] for state in STATES}
    # nobody who has never paused a trial wonders about a column of zeros
    counts = [_count(state, many) for state, many in numbers.items() if state != "paused" or any(many)]
    best = [entry["best"] for entry in entries]
    columns = [
        Column("sweep", [entry["sweep"] for entry in entries], text=True, key="sweep"),
        Column("state", [entry["state"] for entry in entries], text=True, key="state"),
        *counts,
        Column("best", ["–" if one is None else score_text(one, one["objective"]) for one in best], key="best"),
        Column("trial", ["–" if one is None else str(one["trial"]) for one in best], 1, key="trial"),
        Column("updates", [str(entry["updates"]) for entry in entries], 3, key="updates"),
        Column("updates/s", [_rate(entry["updates_per_s"]) for entry in entries], 4, key="updates/s"),
        Column("wall", [f"{entry['wall_s']:.0f} s" for entry in entries], 3, key="wall"),
    ]
    left_out = print_table(columns, width=terminal_width())
    if left_out:
        typer.echo(f"not shown: {', '.join(column.key for column in left_out)}   (--json has all)")


def _count(state: str, numbers: list[int]) -> Column:
    """A column of zeros is the first to go where not all fit."""
    rank = 0 if state == "complete" else 1 if any(numbers) else 5
    return Column(state, list(map(str, numbers)), rank, key=state)


def _rate(updates_per_s: float | None) -> str:
    return "–" if updates_per_s is None else f"{updates_per_s:.0f}"


def _print_best(entry: dict[str, Any]) -> None:
    if entry["best"]:
        typer.echo(f"\nbest: trial {entry['best']['trial']}")
        for key, value in entry["best"]["params"].items():
            typer.echo(printable(f"  {key}={as_typed(value)}"))
