"""`rnnsweep predict`: what a trained network says about sequences of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnsweep.app.cli.options import Store, SweepName, TrialNumber


def predict(
    sweep: SweepName,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Sequences: .npy, .npz or .csv; of task=table whatever it reads.",
            show_default=False,
        ),
    ],
    trial: TrialNumber = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="A .csv or .npz file.  [default: CSV is printed]", show_default=False
        ),
    ] = None,
    store: Store = None,
) -> None:
    """Predict with a trial's network: a row per sequence, or per step where the task has an output at every step."""
    from rnnsweep.app.results import predictions
    from rnnsweep.app.results.sweep import open_sweep

    opened = open_sweep(sweep, store=store)
    chosen = opened.best if trial is None else opened.trial(trial)
    if out is not None:
        predictions.check_out(out)
    network = chosen.load()
    sequences = predictions.sequences_for(network, data)
    found = predictions.predict(network, sequences)
    if out is None:
        typer.echo(predictions.as_csv(network, sequences, found), nl=False)
        return
    predictions.write_predictions(out, network, sequences, found)
    typer.echo(f"{out}\ntrial {chosen.number}; {len(sequences)} sequence{'s' if len(sequences) > 1 else ''}")
