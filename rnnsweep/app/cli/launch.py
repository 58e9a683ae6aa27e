"""`rnnsweep launch`: run a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import ConfigDir, Overrides, Store
from rnnsweep.app.stores import place_of


def launch(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name, or a path to a yaml.")],
    overrides: Overrides = None,
    store: Store = None,
    config_dir: ConfigDir = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Go on with an unfinished SWEEP, or launch the next SWEEP-2, SWEEP-3, ...")
    ] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Hand it to the Ray cluster as a job, and return.")] = False,
) -> None:
    """Run a sweep here, or on the cluster that cluster=... names; Ctrl-C once stops it so that resume goes on."""
    from rnnsweep.app import running
    from rnnsweep.app.cli.running import run_and_tell
    from rnnsweep.app.config import load

    typed, root = list(overrides or ()), running.root_argument(store)
    if fresh:
        plain = load(sweep, typed, config_dirs=config_dir or (), store=root, check_units=False)
        where = place_of(plain.store.root, plain.store.ledger)
        name, unfinished = running.fresh_name(where, plain.plan.name)
        if unfinished:
            typer.echo(f"Going on with the unfinished sweep '{name}'.", err=True)
            stored = running.stored_config(where, name)
            run_and_tell(where, name, lambda observer: running.resume(stored, observer=observer))
            return
        typed.append(f"name={name}")
    config = load(sweep, typed, config_dirs=config_dir or (), store=root)
    where = place_of(config.store.root, config.store.ledger)
    running.check_new(where, config.plan.name)
    if submit:
        from rnnsweep.app.submitting import submit_launch

        typer.echo(submit_launch(config, sweep, typed, root))
        return
    run_and_tell(where, config.plan.name, lambda observer: running.launch(config, observer))
