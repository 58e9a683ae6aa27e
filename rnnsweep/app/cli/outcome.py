"""What `launch` and `resume` print when a sweep has ended."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from rnnsweep.app.cli.listing import printable
from rnnsweep.app.cli.table import print_rows

if TYPE_CHECKING:
    from rnnsweep.app.api import Sweep

BEST = 5
LISTED = 8


def finish(sweep: Sweep) -> None:
    """Say what a run that has ended left to do for mirrors, and exit with its code; `show` has printed its result."""
    assert sweep.outcome is not None  # `launch` and `resume` set it
    with _while_somebody_reads():
        for mirror in sweep.outcome.behind:
            typer.echo(f"note: {mirror} is not up to date yet; the next resume writes the rest.", err=True)
        for line in sweep.outcome.refused:
            typer.echo(printable(f"note: left out, as the store cannot take it: {line}"), err=True)
    if sweep.outcome.exit_code:
        raise typer.Exit(sweep.outcome.exit_code)


@contextmanager
def _while_somebody_reads() -> Iterator[None]:
    """A terminal that was closed, or a pipe that was left, is no reason for another exit code than the sweep's."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EPIPE, errno.EBADF):
            raise
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until exit, for the last flush


def show(sweep: Sweep) -> None:
    """Print how a run ended and what to do next."""
    with _while_somebody_reads():
        _print(sweep)


def _print(sweep: Sweep) -> None:
    outcome, name, where = sweep.outcome, sweep.name, sweep.place
    assert outcome is not None
    status = sweep.status()
    best = sweep.ranking()[:BEST]
    failed = status["trials"]["failed"]
    total = sum(status["trials"].values())
    picture = sweep.overview()
    typer.echo(f"\nSweep '{name}' is {outcome.state.value}: {total} trials, {failed} failed, {status['wall_s']:.0f} s.")
    if outcome.reason:  # whatever ended it: a limit, a space that is used up, points that still wait, a bug
        typer.echo(outcome.reason, err=outcome.state.value != "COMPLETE")
    for line in troubles(sweep.table()):
        typer.echo(line)
    if best:
        print_rows(best, title=f"\nbest {len(best)}{_ties(sweep)}")
    typer.echo("")
    if picture:
        typer.echo(f"picture   {picture}")
    option = f" {shlex.join(where.option)}" if where.option else ""
    typer.echo(f"report    rnnsweep report {name}{option}\nMLflow UI rnnsweep ui {name}{option}")
    # without it a failed trial stays failed; what was interrupted goes on anyway
    again = " --failed" if failed and outcome.state.value in ("COMPLETE", "FAILED") else ""
    if outcome.state.value != "COMPLETE" or failed:
        typer.echo(f"go on     rnnsweep resume {name}{again}{option}")
    else:
        typer.echo(f"more      rnnsweep resume {name} budget.trials=N{option}")


def _ties(sweep: Sweep) -> str:
    """That the first of the ranking is not alone, and why it comes first."""
    values = [entry["objective"] for entry in sweep.ranking()]
    tied = values.count(values[0])
    return f" ({tied} share the best objective; who solved earlier comes first)" if tied > 1 else ""


def troubles(entries: Sequence[Any]) -> list[str]:
    """Which trials failed or diverged, those of one reason together: a line each."""
    by_note: dict[str, list[int]] = {}
    for entry in entries:
        if entry["state"] == "FAILED":
            by_note.setdefault(f"failed    {entry['reason']}", []).append(entry["trial"])
    diverged = [entry for entry in entries if entry["diverged_at"] is not None]
    if diverged:
        first, last = (extreme(entry["diverged_at"] for entry in diverged) for extreme in (min, max))
        when = f"at update {first}" if first == last else f"at updates {first} to {last}"
        by_note[f"diverged  {when}"] = [entry["trial"] for entry in diverged]
    return [printable(f"{text}: {_numbers(trials)}") for text, trials in by_note.items()]


def _numbers(trials: Sequence[int]) -> str:
    listed = ", ".join(map(str, trials[:LISTED]))
    more = f" and {len(trials) - LISTED} more" if len(trials) > LISTED else ""
    return f"trial{'s' if len(trials) > 1 else ''} {listed}{more}"
