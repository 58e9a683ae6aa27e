"""`rnnsweep train`: one trial."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, ConfigDir, Overrides, emit


def train(
    overrides: Overrides = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="SWEEP", help="Start from this sweep's config.")
    ] = None,
    config_dir: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Train one trial here and print its rungs: no Ray, no Optuna, no store."""
    from rnnsweep.app.api import train as train_trial
    from rnnsweep.app.results.tables import curves, replicas
    from rnnsweep.sweep.rows import RowReport

    def show(report: RowReport) -> None:
        if not as_json:
            typer.echo(line(report))

    found = list(train_trial(list(overrides or ()), sweep=sweep, config_dirs=config_dir or (), observer=show))
    if as_json:
        emit({"curves": curves(found), "replicas": replicas(found)})


def line(report: object) -> str:
    """A rung of a replica in one line."""
    from rnnsweep.sweep.rows import RowReport

    assert isinstance(report, RowReport)
    first = [key for key in ("train/loss", "valid/loss", "valid/error") if key in report.metrics]
    tasks = [key for key in report.metrics if key.startswith("valid/") and key not in first]
    rest = [key for key in ("grad/norm", "clip/share", "weights/rho") if key in report.metrics]
    values = "  ".join(f"{key} {report.metrics[key]:.4g}" for key in (*first, *tasks, *rest))
    return f"replica {report.replica}  update {report.step:>7}  {report.state.value:<8}  {values}"
