"""`rnnsweep train`: one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, ConfigDir, Overrides, emit


def train(
    overrides: Overrides = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="SWEEP", help="Start from this sweep's config.")
    ] = None,
    config_dir: ConfigDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep the network: checkpoints and config.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train one trial here and print its rungs: no Ray, no Optuna, no store."""
    from rnnsweep.app.api import train as train_trial
    from rnnsweep.app.results.tables import curves, replicas, report_line

    reports = train_trial(
        list(overrides or ()),
        sweep=sweep,
        config_dirs=config_dir or (),
        out=out,
        observer=None if as_json else lambda report: typer.echo(report_line(report)),
    )
    if as_json:
        emit({"curves": curves(reports), "replicas": replicas(reports)})
    elif out is None:
        typer.echo("The network is not kept; --out DIR would keep it.", err=True)
    else:
        typer.echo(f"Kept in {out}; in Python: rnnsweep.load_trained({str(out)!r}).load()", err=True)
