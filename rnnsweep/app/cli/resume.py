"""`rnnsweep resume`: go on with a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import Overrides, Store, SweepName
from rnnsweep.app.stores import place


def resume(
    sweep: SweepName,
    budget: Overrides = None,
    failed: Annotated[bool, typer.Option("--failed", help="Try all failed trials again.")] = False,
    trial: Annotated[list[int] | None, typer.Option("--trial", help="Try this trial again; may be repeated.")] = None,
    extend: Annotated[bool, typer.Option("--extend", help="Complete trials go on to a raised budget.updates.")] = False,
    store: Store = None,
) -> None:
    """Go on with a sweep: what was interrupted, what failed, or more of it (budget.trials=..., budget.updates=...)."""
    from rnnsweep.app import running
    from rnnsweep.app.cli.running import run_and_tell
    from rnnsweep.sweep.rebuild import Reopen

    where = place(store)
    config = running.stored_config(where, sweep, list(budget or ()))
    reopen = Reopen(failed=failed, trials=tuple(trial or ()), extend=extend)
    run_and_tell(where, sweep, lambda observer: running.resume(config, reopen, observer))
