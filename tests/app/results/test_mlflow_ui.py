"""Links into MLflow's pages, and what is refused before a server is started."""

from __future__ import annotations

import pytest

from rnnsweep.app.results import mlflow_ui
from rnnsweep.app.stores import place
from rnnsweep.errors import ConfigError


def test_a_store_without_runs_has_no_pages(store):
    with pytest.raises(ConfigError, match="--store"):
        mlflow_ui.store_uri(place(store), None)


def test_links_lead_to_the_trials_and_to_their_comparison(store, monkeypatch):
    monkeypatch.setattr(mlflow_ui, "experiment_id", lambda where, view: "7")
    lines = mlflow_ui.links("http://h", place(store), "quickstart").splitlines()
    assert [line.split()[0] for line in lines] == ["trials", "compare"]
    assert all("http://h/#/experiments/7/" in line for line in lines)
    ours = mlflow_ui.links("http://127.0.0.1:5000", place(store), "quickstart", "T")
    assert ours == "trials    http://127.0.0.1:5000/trials/7?token=T\ncompare   http://127.0.0.1:5000/compare/7?token=T"


def test_a_sweep_that_has_not_been_written_yet_is_said(store, monkeypatch):
    monkeypatch.setattr(mlflow_ui, "experiment_id", lambda where, view: None)
    assert "no runs there yet" in mlflow_ui.links("http://h", place(store), "quickstart")
    assert mlflow_ui.links("http://h", place(store), None) == "http://h"
    assert mlflow_ui.links("http://h", place(store), None, "T") == "http://h/?token=T"


def test_a_dashboard_needs_its_database(store):
    with pytest.raises(ConfigError, match="optuna"):
        mlflow_ui.dashboard_command(place(store), 8080)
