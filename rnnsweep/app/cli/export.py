"""`rnnsweep export`: a trained network as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnsweep.app.cli.options import Store, SweepName, TrialNumber
from rnnsweep.errors import ConfigError


def export(
    sweep: SweepName,
    to: Annotated[str, typer.Option("--to", metavar="torch|onnx", help="Form of the file.", show_default=False)],
    trial: TrialNumber = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to.  [default: SWEEP-trialN.pt2|.onnx]", show_default=False),
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="State in, state out, instead of whole sequences with their lengths.")
    ] = False,
    store: Store = None,
) -> None:
    """Write a trial's network to a file that runs without rnnsweep: any number of sequences, of any length."""
    from rnnsweep.app.results.export import FORMS, SUFFIX, check_file
    from rnnsweep.app.results.export import export as write
    from rnnsweep.app.results.sweep import open_sweep

    if to not in FORMS:
        raise ConfigError("no such form", key="--to", value=to, allowed=list(FORMS))
    opened = open_sweep(sweep, store=store)
    chosen = opened.best if trial is None else opened.trial(trial)
    file = out or Path(f"{sweep}-trial{chosen.number}{SUFFIX[to]}")
    check_file(file)
    facts = {"sweep": sweep, "trial": chosen.number}
    write(chosen.load(), to, file, streaming=streaming, facts=facts)
    typer.echo(f"{file}\ntrial {chosen.number}; inputs [steps, sequences, inputs] and {_second(streaming)}")


def _second(streaming: bool) -> str:
    return "state [sequences, entries]" if streaming else "lengths [sequences]; sequences end together"
