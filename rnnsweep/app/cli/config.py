"""`rnnsweep config`: the resolved configuration."""

from __future__ import annotations

from pathlib import Path
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
    from rnnsweep.app.config.load import list_sweeps, load
    from rnnsweep.app.config.point import without_passwords
    from rnnsweep.app.results.tables import as_yaml, jsonable

    typed = list(overrides or ())
    if sweep is None:
        sweeps = list_sweeps(config_dir or ())
        if as_json:
            emit([{"name": name, "description": text} for name, _, text in sweeps])
        else:
            typer.echo("\n".join(f"{name:<24} {text}" for name, _, text in sweeps))
        return
    if "=" in sweep:  # overrides of the base config, no sweep named
        typed, sweep = [sweep, *typed], None
    loaded = load(sweep, typed, config_dirs=config_dir or (), store=Path(store) if store else None)
    if as_json:
        emit(jsonable(without_passwords(loaded.resolved)))
    else:
        typer.echo(as_yaml(without_passwords(loaded.resolved)), nl=False)
