"""`rnnsweep train`: one trial."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnsweep.app.cli.listing import terminal_width
from rnnsweep.app.cli.options import AsJson, ConfigDir, Overrides, emit
from rnnsweep.errors import SweepInterrupted

if TYPE_CHECKING:
    from rnnsweep.app.results.trained import TrainedTrial


def train(
    overrides: Overrides = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="SWEEP", help="Start from this sweep's config.")
    ] = None,
    config_dir: ConfigDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Keep the network: checkpoints and config. The same command goes on there if it was interrupted.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train one trial here and print its rungs: no Ray, no Optuna, no store."""
    from rnnsweep.app.results.tables import curves, replicas

    try:
        reports = _trained(overrides or (), sweep, config_dir or (), out, as_json)
    except KeyboardInterrupt:
        from rnnsweep.app.results.training_folder import begun

        if out is None or not begun(out):
            raise
        dirs = [word for folder in config_dir or () for word in ("--config-dir", str(folder))]
        options = [*(["--sweep", sweep] if sweep else []), *dirs, "--out", str(out), *(["--json"] if as_json else [])]
        raise SweepInterrupted(shlex.join(["rnnsweep", "train", *(overrides or ()), *options])) from None
    if as_json:
        emit({"curves": curves(reports), "replicas": replicas(reports)})
    elif out is None:
        typer.echo("The network is not kept; --out DIR would keep it.", err=True)
    else:
        typer.echo(f"Kept in {out}; in Python: rnnsweep.load_trained({str(out)!r}).load()", err=True)


def _trained(
    overrides: Sequence[str], sweep: str | None, config_dirs: Sequence[Path], out: Path | None, as_json: bool
) -> TrainedTrial:
    from rnnsweep.app.api import train as train_trial
    from rnnsweep.app.live_training import LiveTraining
    from rnnsweep.app.results.tables import report_line

    live = LiveTraining(width=terminal_width() if sys.stderr.isatty() else None)

    def tell(text: str) -> None:
        live.rung()
        if not as_json:
            typer.echo(text)

    def note(text: str) -> None:
        live.rung()
        typer.echo(text, err=True)

    try:
        return train_trial(
            overrides,
            sweep=sweep,
            config_dirs=config_dirs,
            out=out,
            observer=lambda report: tell(report_line(report)),
            on_note=note,
            on_update=live.within,
        )
    finally:
        live.rung()
