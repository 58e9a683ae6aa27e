"""`rnnsweep best`: the trial that won."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.app.cli.table import print_rows
from rnnsweep.app.results.tables import ties
from rnnsweep.errors import RnnsweepError


def best(sweep: SweepName, store: Store = None, as_json: AsJson = False) -> None:
    """Print the best complete trial of a sweep, and who ties with it; with several objectives, those of the front."""
    opened = source.opened(sweep, store)
    ranking = opened.ranking()
    if not ranking:
        raise RnnsweepError(f"sweep '{sweep}' has no complete trial yet; see: rnnsweep status {sweep}")
    if as_json:
        emit(ranking[0])
        return
    print_rows(ranking[:1])
    tied = [entry["trial"] for entry in ranking[1:] if entry["objective"] == ranking[0]["objective"]]
    if tied:
        typer.echo(f"\nThe same objective: {_trials(tied)}. Trial {ranking[0]['trial']}: {ties(ranking)}.")
    if front := opened.front():
        typer.echo(f"\nNo trial beats these in every objective: {_trials(front)}.")
    typer.echo(f"\nMore about it:   rnnsweep show {sweep} {ranking[0]['trial']}")


def _trials(numbers: Sequence[int]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
