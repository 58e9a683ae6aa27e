"""A trained network as an MLflow model: files, example and predictions, which the adapter logs and registers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rnnsweep.app.results.export import export
from rnnsweep.app.results.inference import TrainedNetwork
from rnnsweep.app.results.mlflow_runs import run_ids, tracking_uri
from rnnsweep.app.results.predictions import columns_of
from rnnsweep.app.stores import StorePlace
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CrossEntropy
from rnnsweep.errors import RnnsweepError

if TYPE_CHECKING:
    from rnnsweep.adapters.mlflow.registry import LoggedNetwork
    from rnnsweep.sweep.ports import SweepView

_SHOWN = 2
"""Sequences of the example."""


def log_model(
    place: StorePlace, view: SweepView, trial: int, network: TrainedNetwork, register: str | None
) -> LoggedNetwork:
    """Log a trial's network with its run, and register it where a name is given.

    Args:
        place: of the store. view: of the sweep.
        trial: its number.
        network: of it.
        register: name of a registered model.

    Raises:
        RnnsweepError: the trial has no run in MLflow, or the network cannot be exported.
        StoreError: MLflow is away, or refuses.
    """
    from rnnsweep.adapters.mlflow.registry import log_network

    run = run_ids(place, view).get(trial)
    if run is None:
        raise RnnsweepError(
            f"trial {trial} has no run in MLflow: the tracker is off, away, or has not written it yet "
            f"(rnnsweep doctor --repair writes what is missing)"
        )
    facts = facts_of(network)
    example = example_rows(network)
    with tempfile.TemporaryDirectory(prefix="rnnsweep-model-") as folder:
        export(network, "torch", Path(folder) / "network.pt2")
        (Path(folder) / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        return log_network(tracking_uri(place, view), run, Path(folder), example, register)


def facts_of(network: TrainedNetwork) -> dict[str, Any]:
    """What `adapters/mlflow/pyfunc_network.py` needs besides the exported program."""
    task, loss = network.program.task, network.program.task.loss
    inputs, outputs = network.parts.inputs, network.get("w_out").shape[1]
    kind = "classes" if isinstance(loss, CrossEntropy) else "labels" if loss is BINARY_CROSS_ENTROPY else "values"
    plain = {
        "text": None,
        "group": "sequence",
        "time": None,
        "columns": [f"x{index}" for index in range(inputs)],
        "mean": [0.0] * inputs,
        "deviation": [1.0] * inputs,
        "fill": [0.0] * inputs,
        "missing": "error",
        "flagged": [],
        "scale": None,
    }
    return {
        **plain,
        **task.preparation(),
        "kind": kind,
        "classes": [str(name) for name in task.output_names or range(outputs)] if kind == "classes" else None,
        "outputs": columns_of(task, outputs),
        "per_step": network.parts.per_step,
        "dtype": str(network.dtype).removeprefix("torch."),
    }


def example_rows(network: TrainedNetwork) -> pd.DataFrame:
    """A few sequences as the model takes them, a step per row: the task's own, or random numbers."""
    raw = network.program.task.raw_rows(_SHOWN)
    if raw:
        return pd.DataFrame(raw)
    steps = min(10, network.program.task.max_length)
    values = np.random.default_rng(0).normal(size=(_SHOWN * steps, network.parts.inputs))
    frame = pd.DataFrame(values, columns=[f"x{index}" for index in range(network.parts.inputs)])
    frame.insert(0, "sequence", np.repeat([str(index) for index in range(_SHOWN)], steps))
    return frame
