"""What `launch` and `resume` print when a sweep has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rnnsweep.app.cli.table import print_rows

if TYPE_CHECKING:
    from rnnsweep.app.api import Sweep

BEST = 5


def tell(sweep: Sweep) -> None:
    """Print how a run ended and what to do next; exit with its code."""
    assert sweep.outcome is not None  # `launch` and `resume` set it
    _print(sweep)
    if sweep.outcome.exit_code:
        raise typer.Exit(sweep.outcome.exit_code)


def _print(sweep: Sweep) -> None:
    outcome, name, where = sweep.outcome, sweep.name, sweep.place
    assert outcome is not None
    status = sweep.status()
    best = sweep.ranking()[:BEST]
    failed = status["trials"]["failed"]
    total = sum(status["trials"].values())
    picture = sweep.overview()
    typer.echo(f"\nSweep '{name}' is {outcome.state.value}: {total} trials, {failed} failed, {status['wall_s']:.0f} s.")
    if outcome.reason and outcome.state.value != "COMPLETE":
        typer.echo(outcome.reason, err=True)
    if best:
        print_rows(best, title=f"\nbest {len(best)}")
    typer.echo("")
    if picture:
        typer.echo(f"picture   {picture}")
    option = f" --store {where.root}" if where.named else ""
    typer.echo(f"report    rnnsweep report {name}{option}\nMLflow UI rnnsweep ui {name}{option}")
    again = " --failed" if failed and outcome.state.value == "COMPLETE" else ""
    if outcome.state.value != "COMPLETE" or failed:
        typer.echo(f"go on     rnnsweep resume {name}{again}{option}")
    else:
        typer.echo(f"more      rnnsweep resume {name} budget.trials=N{option}")
    for mirror in outcome.behind:
        typer.echo(f"note: {mirror} is not up to date yet; the next resume writes the rest.", err=True)
