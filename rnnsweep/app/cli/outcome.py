"""What `launch` and `resume` print when a sweep has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rnnsweep.app.cli.table import print_rows
from rnnsweep.app.stores import StorePlace, reading_sweep

if TYPE_CHECKING:
    from rnnsweep.app.api import Sweep
    from rnnsweep.sweep.driver import Outcome

BEST = 5


def tell(sweep: Sweep) -> None:
    """Print how a run ended and what to do next; exit with its code."""
    assert sweep.outcome is not None  # `launch` and `resume` set it
    _print(sweep.place, sweep.name, sweep.outcome)
    if sweep.outcome.exit_code:
        raise typer.Exit(sweep.outcome.exit_code)


def _print(where: StorePlace, name: str, outcome: Outcome) -> None:
    from rnnsweep.app.results.report_data import overview_picture
    from rnnsweep.app.results.tables import ranked, row

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
