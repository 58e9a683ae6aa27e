"""`rnnsweep resume`: go on with a sweep."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import AcceptChanges, Overrides, Store, SweepName, password_prompt


def resume(  # noqa: PLR0913 - one parameter per option
    sweep: SweepName,
    budget: Overrides = None,
    failed: Annotated[bool, typer.Option("--failed", help="Try all failed trials again.")] = False,
    trial: Annotated[
        list[int] | None,
        typer.Option("--trial", help="Try this failed trial again, or let this paused one go on; may be repeated."),
    ] = None,
    extend: Annotated[bool, typer.Option("--extend", help="Complete trials go on to a raised budget.updates.")] = False,
    accept_changes: AcceptChanges = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Import the units that a ledger names which others may write.")
    ] = False,
    store: Store = None,
) -> None:
    """Go on with a sweep: what was interrupted, what failed, or more of it (budget.trials=..., budget.updates=...)."""
    from rnnsweep.app import api
    from rnnsweep.app.cli.outcome import finish, print_result
    from rnnsweep.app.cli.remote_outcome import finish_remote

    wishes: dict[str, Any] = {"failed": failed, "trials": tuple(trial or ()), "extend": extend}
    if service := source.service(store):
        source.refuse_options(service, {"--accept-changes": accept_changes, "--trust-code": trust_code})
        finish_remote(service, service.resume(sweep, list(budget or ()), **wishes), wait=True)
        return
    wishes |= {"accept_changes": accept_changes, "trust_code": trust_code}
    finish(api.resume(sweep, list(budget or ()), **wishes, store=store, on_result=print_result, ask=password_prompt()))
