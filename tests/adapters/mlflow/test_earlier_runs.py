"""Runs of others, only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.adapters.mlflow.earlier_runs import experiment_trials
from rnnsweep.adapters.mlflow.library import MlflowClient
from rnnsweep.adapters.mlflow.sqlite_tables import KIND
from rnnsweep.errors import ConfigError


def test_finished_runs_come_in_order_with_their_params_as_texts(uri: str, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("theirs", artifact_location=str(tmp_path))
    for index, (metrics, tags, status) in enumerate(
        [
            ({"valid/error": 0.5}, {}, "FINISHED"),
            ({"valid/error": 0.4, "objective": 0.3}, {}, "FINISHED"),
            ({"valid/error": 0.1}, {}, "FAILED"),
            ({"objective": 0.1}, {KIND: "sweep"}, "FINISHED"),
            ({}, {}, "FINISHED"),
        ]
    ):
        run = client.create_run(experiment, start_time=1000 + index, tags=tags)
        client.log_param(run.info.run_id, "optimizer.lr", 0.1 * (1 + index))
        for name, value in metrics.items():
            client.log_metric(run.info.run_id, name, value)
        client.set_terminated(run.info.run_id, status)
    views = experiment_trials(uri, "theirs", ["valid/error"], "k")
    assert [(view.number, view.params["optimizer.lr"], view.values) for view in views] == [
        (0, "0.1", (0.5,)),
        (1, "0.2", (0.3,)),
        (2, "0.5", ()),
    ]
    assert experiment_trials(uri, "theirs", ["valid/error", "objective"], "k")[1].values == (0.4, 0.3)
    with pytest.raises(ConfigError, match=r"k\.experiment='their': no such experiment"):
        experiment_trials(uri, "their", ["valid/error"], "k")
    with pytest.raises(ConfigError, match="no such file"):
        experiment_trials(f"sqlite:///{tmp_path / 'no.db'}", "theirs", ["valid/error"], "k")
