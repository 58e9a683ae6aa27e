"""`rnnsweep config`: the resolved configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, ConfigDir, Overrides, Store, emit


def config(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="A sweep; lists them without it.")] = None,
    overrides: Overrides = None,
    store: Store = None,
    config_dir: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the resolved configuration of a sweep, checked; without anything, list the sweeps."""
    from rnnsweep.app import api
    from rnnsweep.app.results.tables import as_yaml, jsonable

    typed = list(overrides or ())
    if sweep is None:
        known = api.known_sweeps(config_dir or ())
        if as_json:
            emit([{"name": name, "description": text} for name, text in known])
        else:
            typer.echo("\n".join(f"{name:<24} {text}" for name, text in known))
        return
    if "=" in sweep:  # overrides of the base config, no sweep named
        typed, sweep = [sweep, *typed], None
    resolved = api.resolved_config(sweep, typed, config_dirs=config_dir or (), store=store)
    if as_json:
        emit(jsonable(resolved))
    else:
        typer.echo(as_yaml(resolved), nl=False)
