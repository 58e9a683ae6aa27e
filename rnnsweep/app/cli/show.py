"""`rnnsweep show`: one trial in full."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.listing import Column, print_table, printable, terminal_width
from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.app.results.tables import as_typed, fidelity_words
from rnnsweep.errors import ConfigError

BARS = "▁▂▃▄▅▆▇█"


def show(
    sweep: SweepName,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Trial number.", show_default=False)],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show one trial: parameters, curves, replicas, what happened to it."""
    if not trial.isdecimal():
        raise ConfigError("no trial number", key="TRIAL", value=trial, allowed="0, 1, 2, ...")
    entry = source.opened(sweep, store).show(int(trial))
    if as_json:
        emit({key: value for key, value in entry.items() if key != "history"})
        return
    _print_trial(entry)
    _print_lineage(entry)
    _print_replicas(entry)
    _print_curves(entry)
    _print_threshold(entry)
    _print_lines("history", [f"{_time(at)}  {line}" for at, line in entry["history"]])
    _print_lines("artifacts", entry["artifacts"])


def _print_trial(entry: dict[str, Any]) -> None:
    """The trial itself, one fact a line: parameters as they would be typed."""
    standing = f"trial {entry['trial']}  {entry['state']} at update {entry['step']}"
    if entry["attempts"] > 1:
        standing += f", attempt {entry['attempts']}"
    typer.echo(standing)
    facts = {
        "objective": _bound(entry, "objective"),
        "value so far": _bound(entry, "value") if entry["objective"] is None else None,
        "solved at": entry["solved_at"],
        "diverged at": entry["diverged_at"],
        "reason": entry["reason"] or None,
        "fingerprints": entry["fingerprints"],
        "fidelity": fidelity_words(entry),
        "version of the space": entry.get("space"),
        "MLflow run": entry["mlflow_run_id"],
    }
    for name, value in facts.items():
        if value is not None:
            typer.echo(printable(f"  {name}: {as_typed(value)}"))
    for key, value in entry["params"].items():
        typer.echo(printable(f"  {key}={as_typed(value)}"))


def _print_lineage(entry: dict[str, Any]) -> None:
    """Whose training led to what it has now, oldest first, and the values at that time."""
    lines: list[str] = []
    for stretch in entry.get("lineage", ()):
        point = "  ".join(f"{key}={as_typed(value, 6)}" for key, value in stretch["params"].items())
        lines.append(f"from update {stretch['from']:>7}  trial {stretch['trial']:>5}  {point}")
    _print_lines("lineage", lines)


def _bound(entry: dict[str, Any], name: str) -> object:
    """A value in full; of a time to solve that has not come, that it is later; of a mean with one, what it is above."""
    if not entry.get("unsolved") or entry[name] is None:
        return entry[name]
    if entry.get("partly"):
        # of who still trains, the budget counts: the mean can only become smaller
        sign = "≤" if entry["objective"] is None else ">"
        return f"{sign} {as_typed(entry[name])} (a mean in which unsolved replicas count as the budget)"
    return f"unsolved by update {entry['step']}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def _print_lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        typer.echo(f"\n{title}")
        typer.echo("\n".join(f"  {printable(line)}" for line in lines))


REPLICA = ("replica", "state", "step", "solved_at", "diverged_at", "engine", "device_s")


def _print_replicas(entry: dict[str, Any]) -> None:
    if not entry["replicas"]:
        return
    columns = [
        Column(
            name.replace("_", " "),
            ["–" if replica[name] is None else str(replica[name]) for replica in entry["replicas"]],
            rank,
            text=name in ("state", "engine"),
        )
        for rank, name in enumerate(REPLICA)
    ]
    print_table(columns, title="\nreplicas", width=terminal_width())


def _print_curves(entry: dict[str, Any]) -> None:
    """Each metric's way in blocks as wide as the terminal has room for."""
    curves = {key: [value for _, value in points] for key, points in entry["curves"].items()}
    if not curves:
        return
    numbers = [
        Column("metric", list(curves), text=True),
        Column("first", [f"{values[0]:.4g}" for values in curves.values()]),
        Column("last", [f"{values[-1]:.4g}" for values in curves.values()]),
    ]
    taken = sum(column.width + 2 for column in numbers)
    room = max(8, min(48, (terminal_width() or 120) - taken))
    courses = [sparkline(values, room) for values in curves.values()]
    print_table([*numbers, Column("course", courses, 1, text=True)], title="\ncurves", width=terminal_width())


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
