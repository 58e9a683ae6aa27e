"""`rnnsweep replay`: a trial trained once more, alone, and compared with its record."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.app.results.tables import as_typed


def replay(
    sweep: SweepName,
    trial: Annotated[int, typer.Option("--trial", metavar="N", min=0, help="Trial number.", show_default=False)],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Train a trial once more, through all states that it took over, and compare every number with the ledger's.

    Exit code 1 where one differs, with the first that does.
    """
    from rnnsweep.app import api

    made = api.replay(api.open_sweep(sweep, store=store), trial)
    if as_json:
        emit(_plain(made))
    else:
        for stretch in made.stretches:
            point = "  ".join(f"{key}={as_typed(value)}" for key, value in stretch.params.items())
            typer.echo(f"trial {stretch.trial:>5}  from update {stretch.step:>7}  {point}")
        if made.equal:
            typer.echo(f"\nequal to the bit: {made.compared} reports of {len(made.stretches)} stretches")
        else:
            typer.echo(f"\nDIFFERS: {made.difference}")
            _say_why(made)
    if not made.equal:
        raise typer.Exit(1)


def _say_why(made: Any) -> None:
    if made.processors and made.processor not in made.processors:
        known = ", ".join(made.processors)
        typer.echo(f"This is a {made.processor}; the sweep has trained on {known}: the last bits may differ.")


def _plain(made: Any) -> dict[str, Any]:
    first = made.difference
    return {
        "trial": made.trial,
        "equal": made.equal,
        "compared": made.compared,
        "stretches": [{"trial": one.trial, "from": one.step, "params": dict(one.params)} for one in made.stretches],
        "difference": None if first is None else dict(vars(first)),
        "processor": made.processor,
        "processors": list(made.processors),
    }
