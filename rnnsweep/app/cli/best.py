"""`rnnsweep best`: the trial that won."""

from __future__ import annotations

import typer

from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.app.cli.table import print_rows
from rnnsweep.app.stores import place, reading_sweep
from rnnsweep.errors import RnnsweepError


def best(sweep: SweepName, store: Store = None, as_json: AsJson = False) -> None:
    """Print the best complete trial of a sweep."""
    from rnnsweep.app.results.mlflow_runs import run_ids
    from rnnsweep.app.results.tables import ranked, row

    where = place(store)
    with reading_sweep(where, sweep) as (ledger, view):
        found = ranked(view, ledger.trials(sweep))
        if not found:
            raise RnnsweepError(f"sweep '{sweep}' has no complete trial yet; see: rnnsweep status {sweep}")
        entry = row(found[0], run_ids(where, view))
    if as_json:
        emit(entry)
        return
    print_rows([entry])
    typer.echo(f"\nMore about it:   rnnsweep show {sweep} {entry['trial']}")
