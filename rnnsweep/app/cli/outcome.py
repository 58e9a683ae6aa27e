"""What `launch` and `resume` print when a sweep has ended."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from rnnsweep.app.cli.listing import printable
from rnnsweep.app.cli.table import print_rows
from rnnsweep.app.results.tables import ties
from rnnsweep.wording import counted

if TYPE_CHECKING:
    from rnnsweep.app.api import Sweep
    from rnnsweep.app.remote.remote_sweep import RemoteSweep

BEST = 5
LISTED = 8


def finish(sweep: Sweep) -> None:
    """Say what mirrors have not got, once nobody waits for them any more; exit with the run's code."""
    assert sweep.outcome is not None  # `launch` and `resume` set it
    with _while_somebody_reads():
        if sweep.outcome.at_once:
            state, go_on = sweep.outcome.state.value, ways_on(sweep, failed=0)[-1][10:]
            typer.echo(f"Sweep '{sweep.name}' is {state}, stopped at once. Go on with: {go_on}", err=True)
        for mirror in sweep.outcome.behind:
            typer.echo(f"note: {mirror} is not up to date yet; the next resume writes the rest.", err=True)
        for text in sweep.outcome.refused:
            typer.echo(printable(f"note: left out, as the store cannot take it: {text}"), err=True)
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


def print_result(sweep: Sweep) -> None:
    """Print how a run ended and what to do next; nothing for somebody who wants to be gone at once."""
    if sweep.outcome is not None and sweep.outcome.at_once:
        return
    from rnnsweep.app.results.mlflow_runs import in_mlflow

    tracked = in_mlflow(sweep.place, sweep.name)
    print_ended(sweep, lambda failed: ways_on(sweep, failed, tracked))


def print_ended(sweep: Sweep | RemoteSweep, ways: Callable[[int], Sequence[str]]) -> None:
    """The same for a sweep wherever it ran.

    Args:
        sweep: with its outcome.
        ways: from the number of failed trials to commands that go on.
    """
    with _while_somebody_reads():
        failed = _print(sweep)
        for line in ways(failed):
            typer.echo(line)


def _print(sweep: Sweep | RemoteSweep) -> int:
    """How it ended; returns how many trials failed."""
    outcome = sweep.outcome
    assert outcome is not None
    status, ranking = sweep.status(), sweep.ranking()
    failed, total = status["trials"]["failed"], sum(status["trials"].values())
    figures = f"{counted(total, 'trial')}, {failed} failed, {status['wall_s']:.0f} s"
    typer.echo(f"\nSweep '{sweep.name}' is {outcome.state.value}: {figures}.")
    if outcome.reason:  # whatever ended it: a limit, a space that is used up, points that still wait, a bug
        typer.echo(outcome.reason, err=outcome.state.value != "COMPLETE")
    for line in troubles(sweep.table()):
        typer.echo(line)
    if ranking:
        tied = ties(ranking)
        after = f" (trial {ranking[0]['trial']}: {tied})" if tied else ""
        print_rows(ranking[:BEST], title=f"\nbest {len(ranking[:BEST])}{after}")
    typer.echo("")
    _print_picture(sweep)
    return failed


def _print_picture(sweep: Sweep | RemoteSweep) -> None:
    """The results are safe: a picture that cannot be written is no failure of the sweep."""
    assert sweep.outcome is not None
    if sweep.outcome.idle:  # nothing has changed since the picture was drawn
        return
    try:
        picture = sweep.overview()
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        typer.echo(f"note: no picture ({reason}); rnnsweep report --out DIR draws it elsewhere.", err=True)
        return
    if picture:
        typer.echo(f"picture   {picture}")


def ways_on(sweep: Sweep, failed: int, tracked: bool = True) -> list[str]:
    """Commands that go on from here, as they can be typed; those of MLflow for a sweep that is there."""
    assert sweep.outcome is not None
    state, option = sweep.outcome.state.value, shlex.join(sweep.place.option)
    name = shlex.join([sweep.name]) + (f" {option}" if option else "")
    # without it a failed trial stays failed; what was interrupted goes on anyway
    again = "--failed" if failed and state in ("COMPLETE", "FAILED") else ""
    more = again or ("" if state != "COMPLETE" else "budget.trials=N")
    way = "go on    " if state != "COMPLETE" or failed else "more     "
    lines = [
        f"report    rnnsweep report {name}",
        *([f"MLflow UI rnnsweep ui {name}"] if tracked else []),
        f"{way} rnnsweep resume {name}{' ' if more else ''}{more}",
    ]
    if sweep.outcome.idle and state == "COMPLETE":  # somebody wanted more: all that brings more
        lines += [f"more      rnnsweep resume {name} budget.trials=N"] if failed else []
        lines.append(f"longer    rnnsweep resume {name} --extend budget.updates=N")
    return lines


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
