"""`rnnsweep export`: a trained network as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnsweep.app.cli.options import Store, SweepName, TrialNumber
from rnnsweep.errors import ConfigError

_MLFLOW = "mlflow"


def export(  # noqa: PLR0913 - one parameter per option
    sweep: SweepName,
    to: Annotated[
        str, typer.Option("--to", metavar="torch|onnx|mlflow", help="Form of the file; or MLflow.", show_default=False)
    ],
    trial: TrialNumber = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to.  [default: SWEEP-trialN.pt2|.onnx]", show_default=False),
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="State in, state out, instead of whole sequences with their lengths.")
    ] = False,
    register: Annotated[
        str | None,
        typer.Option("--register", metavar="MODEL", help="With mlflow: a further version of this registered model."),
    ] = None,
    store: Store = None,
) -> None:
    """Write a trial's network to a file that runs without rnnsweep: any number of sequences, of any length.

    --to mlflow logs it with the trial's MLflow run instead, with signature and example, for mlflow.pyfunc.load_model.
    """
    from rnnsweep.app.results.export import FORMS, SUFFIX, check_file
    from rnnsweep.app.results.export import export as write
    from rnnsweep.app.results.sweep import open_sweep

    if to not in (*FORMS, _MLFLOW):
        raise ConfigError("no such form", key="--to", value=to, allowed=[*FORMS, _MLFLOW])
    _check_options(to, out, streaming, register)
    opened = open_sweep(sweep, store=store)
    chosen = opened.best if trial is None else opened.trial(trial)
    if to == _MLFLOW:
        logged = opened.log_model(chosen.number, register)
        typer.echo("\n".join([logged.uri, *([logged.registered] if logged.registered else [])]))
        typer.echo(f"trial {chosen.number}; mlflow.pyfunc.load_model takes a table with a step per row")
        return
    file = out or Path(f"{sweep}-trial{chosen.number}{SUFFIX[to]}")
    check_file(file)
    facts = {"sweep": sweep, "trial": chosen.number}
    write(chosen.load(), to, file, streaming=streaming, facts=facts)
    typer.echo(f"{file}\ntrial {chosen.number}; inputs [steps, sequences, inputs] and {_second(streaming)}")


def _check_options(to: str, out: Path | None, streaming: bool, register: str | None) -> None:
    """Options that the form has no use for are refused."""
    if register is not None and (to != _MLFLOW or not register.strip()):
        allowed = f"a name, with --to {_MLFLOW}"
        raise ConfigError("names a registered model", key="--register", value=register, allowed=allowed)
    for key, value in (("--out", out), ("--streaming", streaming)):
        if to == _MLFLOW and value:
            raise ConfigError(
                "is for files",
                key=key,
                value=None if value is True else str(value),
                allowed=f"left out with --to {_MLFLOW}",
            )


def _second(streaming: bool) -> str:
    return "state [sequences, entries]" if streaming else "lengths [sequences]; sequences end together"
