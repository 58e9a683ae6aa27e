"""What `launch` and `resume` print of a sweep that a service runs, and the exit code: as of one that ran here."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.listing import printable
from rnnsweep.app.cli.outcome import print_ended
from rnnsweep.errors import SweepInterrupted

if TYPE_CHECKING:
    from rnnsweep.app.remote.remote_sweep import RemoteSweep
    from rnnsweep.app.remote.service_client import Service


def finish_remote(service: Service, sweep: RemoteSweep, *, wait: bool) -> None:
    """Say where it is; wait for its end, print that, and exit with the code that the run would have had here."""
    typer.echo(f"Sweep '{sweep.name}' is queued at {service.connection.url}.", err=True)
    if not wait:
        typer.echo(f"status    {command('status', sweep.name)}")
        return
    try:
        ended = service.wait(sweep, _Progress())
    except KeyboardInterrupt:
        typer.echo("It goes on without us.", err=True)
        raise SweepInterrupted(command("logs", sweep.name, "--follow")) from None
    assert ended.outcome is not None
    print_ended(ended, lambda _: ways_on(ended))
    if ended.outcome.exit_code:
        raise typer.Exit(ended.outcome.exit_code)


def command(*words: str) -> str:
    """A command line that asks the same service."""
    return shlex.join(["rnnsweep", *words, *source.option()])


def ways_on(sweep: RemoteSweep) -> list[str]:
    """Commands that go on from here, as they can be typed."""
    assert sweep.outcome is not None
    more = ["budget.trials=N"] if sweep.outcome.state.value == "COMPLETE" else []
    way = "more     " if more else "go on    "
    resume = command("resume", sweep.name, *more)
    return [f"report    {command('report', sweep.name)}", f"{way} {resume}"]


class _Progress:
    """A line on standard error whenever a trial has ended, or the sweep's turn has come or gone."""

    def __init__(self) -> None:
        self._before: Any = None

    def __call__(self, status: Mapping[str, Any], queue_state: str) -> None:
        trials = status["trials"]
        ended = {name: trials[name] for name in ("complete", "pruned", "failed") if trials[name]}
        now = (queue_state, ended)
        if now == self._before:
            return
        self._before = now
        counts = ", ".join(f"{count} {name}" for name, count in ended.items()) or "no trial has ended"
        best = f", best {status['best']['objective']:.4g}" if status["best"] else ""
        typer.echo(printable(f"{queue_state.lower()}: {counts}{best}"), err=True)
        sys.stderr.flush()
