"""`rnnsweep best`: the trial that won."""

from __future__ import annotations

import typer

from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.app.cli.table import print_rows
from rnnsweep.errors import RnnsweepError


def best(sweep: SweepName, store: Store = None, as_json: AsJson = False) -> None:
    """Print the best complete trial of a sweep."""
    from rnnsweep.app.results.sweep import open_sweep

    ranking = open_sweep(sweep, store=store).ranking()
    if not ranking:
        raise RnnsweepError(f"sweep '{sweep}' has no complete trial yet; see: rnnsweep status {sweep}")
    if as_json:
        emit(ranking[0])
        return
    print_rows(ranking[:1])
    typer.echo(f"\nMore about it:   rnnsweep show {sweep} {ranking[0]['trial']}")
