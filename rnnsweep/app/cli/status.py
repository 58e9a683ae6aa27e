"""`rnnsweep status`: how a sweep stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnsweep.app.cli.options import AsJson, Store, console, emit


def status(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="All sweeps without it.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show how a sweep stands: trials by state, best so far, updates per second."""
    if sweep is None:
        print_all(store, as_json)
        return
    from rnnsweep.app.results.sweep import open_sweep

    entry = open_sweep(sweep, store=store).status()
    if as_json:
        emit(entry)
    else:
        _print([entry])
        _print_best(entry)


def print_all(store: str | None, as_json: bool) -> None:
    """All sweeps; an absent store has none."""
    from rnnsweep.app.results.sweep import place, statuses

    entries = statuses(store)
    if as_json:
        emit(entries)
    elif entries:
        _print(entries)
    else:
        typer.echo(f"No sweeps in {place(store).root}. Start one with: rnnsweep launch quickstart")


def _print(entries: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("sweep", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("complete", "pruned", "failed", "running", "waiting", "best", "trial", "updates", "updates/s", "wall"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in entries:
        counts, best = entry["trials"], entry["best"]
        table.add_row(
            entry["sweep"],
            entry["state"],
            *(str(counts[name]) for name in ("complete", "pruned", "failed", "running", "waiting")),
            f"{best['objective']:.4g}" if best else "–",
            str(best["trial"]) if best else "–",
            str(entry["updates"]),
            f"{entry['updates_per_s']:.0f}" if entry["updates_per_s"] is not None else "–",
            f"{entry['wall_s']:.0f} s",
        )
    console().print(table)


def _print_best(entry: dict[str, Any]) -> None:
    if entry["best"]:
        for key, value in entry["best"]["params"].items():
            typer.echo(f"  {key} = {'off' if value is None else value}")
