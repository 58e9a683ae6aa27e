"""`rnnsweep show`: one trial in full."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnsweep.app.cli.options import AsJson, Store, SweepName, console, emit
from rnnsweep.app.cli.table import print_rows
from rnnsweep.errors import ConfigError

BARS = "▁▂▃▄▅▆▇█"


def show(
    sweep: SweepName,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Trial number.", show_default=False)],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show one trial: parameters, curves, replicas, what happened to it."""
    from rnnsweep.app.results.sweep import open_sweep

    if not trial.isdecimal():
        raise ConfigError("no trial number", key="TRIAL", value=trial, allowed="0, 1, 2, ...")
    entry = open_sweep(sweep, store=store).show(int(trial))
    if as_json:
        emit({key: value for key, value in entry.items() if key != "story"})
        return
    print_rows([entry])
    _print_replicas(entry)
    _print_curves(entry)
    _print_threshold(entry)
    for name, lines in (("story", entry["story"]), ("artifacts", entry["artifacts"])):
        if lines:
            typer.echo(f"\n{name}")
            typer.echo("\n".join(f"  {line}" for line in lines))


def _print_replicas(entry: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title="\nreplicas", title_justify="left")
    for name in ("replica", "state", "step", "solved_at", "diverged_at", "engine", "device_s"):
        table.add_column(name, justify="right")
    for replica in entry["replicas"]:
        values = (
            replica[name] for name in ("replica", "state", "step", "solved_at", "diverged_at", "engine", "device_s")
        )
        table.add_row(*("–" if value is None else str(value) for value in values))
    console().print(table)


def _print_curves(entry: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title="\ncurves", title_justify="left")
    for name in ("metric", "first", "last", "course"):
        table.add_column(name)
    for key, points in entry["curves"].items():
        values = [value for _, value in points]
        table.add_row(key, f"{values[0]:.4g}", f"{values[-1]:.4g}", sparkline(values))
    console().print(table)


def _print_threshold(entry: dict[str, Any]) -> None:
    from rnnsweep.app.results.tables import clip_thresholds

    thresholds = clip_thresholds(entry["curves"])
    if thresholds:
        low, high = thresholds
        typer.echo(f"\nclipping  thresholds of {low:.3g} to {high:.3g} are 0.5 to 10 times this trial's mean norm")


def sparkline(values: list[float], width: int = 48) -> str:
    """A curve as one line of block characters.

    Example:
        >>> sparkline([0.0, 0.5, 1.0])
        '▁▄█'
    """
    picked = [values[int(index * len(values) / width)] for index in range(width)] if len(values) > width else values
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join(BARS[int((value - low) / span * (len(BARS) - 1))] for value in picked)
