"""`rnnsweep units`: what can be chosen."""

from __future__ import annotations

import typer

from rnnsweep.app.cli.options import AsJson, ConfigDir, emit

GROUPS = (
    *("family", "activation", "embedding", "readout", "controller", "init", "task", "learner", "optimizer", "metric"),
    *("sampler", "pruner", "scheduler"),
)
FOLDERS = {"controller": "controllers"}


def units(config_dir: ConfigDir = None, as_json: AsJson = False) -> None:
    """List families, controllers, tasks, samplers and all other units, your own included."""
    from rnnsweep.app import api

    known = api.known_units(config_dir or ())
    listed = {group: known.get(FOLDERS.get(group, group), []) for group in GROUPS}
    if as_json:
        emit(listed)
        return
    width = max(map(len, listed))
    for group, names in listed.items():
        typer.echo(f"{group:<{width}}  {' '.join(names)}")
    typer.echo("\nChoose with group=name (family=srn, sampler=tpe); controllers: '+controllers=omega' adds one.")
    typer.echo("An activation is a value of family.activation.")
