"""What `launch` and `resume` show while a sweep runs and when it has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from rnnsweep.app.cli.table import print_rows
from rnnsweep.app.stores import StorePlace, reading_sweep

if TYPE_CHECKING:
    from rnnsweep.app.running import Observer
    from rnnsweep.sweep.driver import Outcome

BEST = 5


def run_and_tell(where: StorePlace, name: str, work: Callable[[Observer], Outcome]) -> None:
    """Run a sweep under live progress, print how it ended, exit with its code."""
    from rnnsweep.app.progress import LiveProgress

    with LiveProgress(name) as shown:
        outcome = work(shown.update)
    _tell(where, name, outcome)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _tell(where: StorePlace, name: str, outcome: Outcome) -> None:
    from rnnsweep.app.reporting import overview_picture
    from rnnsweep.app.views import ranked, row

    with reading_sweep(where, name) as (ledger, view):
        trials = ledger.trials(name)
        best = [row(trial, {}) for trial in ranked(view, trials)[:BEST]]
        failed = sum(trial.state.value == "FAILED" for trial in trials)
        picture = overview_picture(where, ledger, name)
    typer.echo(
        f"\nSweep '{name}' is {outcome.state.value}: {len(trials)} trials, {failed} failed, {view.wall_s:.0f} s."
    )
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
