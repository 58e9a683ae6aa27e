"""`rnnsweep launch`: run a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.options import ConfigDir, Overrides, Store, password_prompt
from rnnsweep.errors import ConfigError


def launch(  # noqa: PLR0913 - one parameter per option
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name, or a path to a yaml.")],
    overrides: Overrides = None,
    store: Store = None,
    config_dir: ConfigDir = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Go on with an unfinished SWEEP, or launch the next SWEEP-2, SWEEP-3, ...")
    ] = False,
    or_resume: Annotated[
        bool, typer.Option("--or-resume", help="Go on with SWEEP, as it was launched, where the store has it.")
    ] = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="Hand it to the Ray cluster as a job, or to the service, and return.")
    ] = False,
) -> None:
    """Run a sweep here, or on the cluster that cluster=... names; Ctrl-C once stops it so that resume goes on."""
    from rnnsweep.app import api
    from rnnsweep.app.cli.outcome import finish, print_result
    from rnnsweep.app.cli.remote_outcome import finish_remote

    typed, folders = list(overrides or ()), list(config_dir or ())
    if or_resume and (fresh or submit):
        raise ConfigError("choose one of them", key=f"--or-resume --{'fresh' if fresh else 'submit'}")
    if service := source.service(store):
        source.refuse_options(service, {"--config-dir": bool(folders), "--or-resume": or_resume})
        finish_remote(service, service.launch(sweep, typed, fresh=fresh), wait=not submit)
        return
    if fresh or or_resume:
        look = api.fresh if fresh else api.existing
        name, known = look(sweep, typed, store=store, config_dirs=folders)
        if known is not None:
            which = f"unfinished sweep '{name}'" if fresh else f"sweep '{name}' as it was launched"
            typer.echo(f"Going on with the {which}.", err=True)
            finish(api.resume(name, store=known, on_result=print_result, ask=password_prompt()))
            return
        if fresh:
            typer.echo(f"Launching sweep '{name}'.", err=True)
            typed.append(f"name={name}")
    if submit:
        typer.echo(api.submit(sweep, typed, store=store, config_dirs=folders))
    else:
        finish(api.launch(sweep, typed, store=store, config_dirs=folders, on_result=print_result))
