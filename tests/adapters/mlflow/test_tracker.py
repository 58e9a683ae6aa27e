"""The MLflow tracker on a real SQLite store: the layout that the UI wants, exactly once, whatever is repeated."""

import json
import time
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from rnnsweep.adapters.mlflow.options import TrackerOptions
from rnnsweep.adapters.mlflow.store import RunStore, find_runs
from rnnsweep.adapters.mlflow.tracker import MlflowMirror
from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.states import SweepState
from tests.adapters.mlflow.conftest import KEYS, STARTED, VIEW, Journal, make_plan, story


def contents(uri):
    """Everything that the store has of the sweep, by run name."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("demo")
    found = {}
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        assert run.info.run_name not in found
        curves = {
            key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
            for key in sorted(run.data.metrics)
        }
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        found[run.info.run_name] = (run.info.status, run.info.start_time, run.data.params, tags, curves)
    return found


def test_layout_of_a_sweep(open_mirror, uri):
    mirror = open_mirror(shape_key=lambda params: "srn-50")
    mirror.write(story())
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("demo")
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "objective"
    assert experiment.tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "false"
    runs = contents(uri)
    assert sorted(runs) == ["00000", "00001", "00002", "00003", "demo"]
    assert [runs[name][0] for name in sorted(runs)] == ["FINISHED", "KILLED", "FAILED", "FINISHED", "FINISHED"]
    for name in ("00000", "00001", "00002", "00003"):
        _, start, params, tags, curves = runs[name]
        assert sorted(curves) == sorted(KEYS)
        assert params == {"controllers.clip.threshold": "0.5", "family.activation": "null"}
        assert tags["shape_key"] == "srn-50"
        assert tags["seed"] == "7"
        assert start == int((STARTED + int(name)) * 1000)
        assert all(at == start + step for curve in curves.values() for step, _, at in curve)
    assert runs["00000"][4]["valid/error"] == [(10 * r, 0.5 / r, int(STARTED * 1000) + 10 * r) for r in range(1, 11)]
    assert [v for _, v, _ in runs["00002"][4]["objective"]] == [1.0]  # the worst value: it has no other
    assert runs["00003"][3]["attempts"] == "2"
    for run_id in mirror.run_ids().values():
        assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == mirror.parent_id
    text = client.get_run(mirror.parent_id).data.tags["mlflow.note.content"]
    assert "Best: trial 3, objective 0.01" in text
    assert "rnnsweep resume demo" in text
    assert "0.1 … 10 (log)" in text
    assert find_runs(uri, VIEW) == (experiment.experiment_id, mirror.run_ids())
    assert find_runs(uri, SweepView("nobody", SweepState.RUNNING, {})) == ("", {})


def test_repetition_and_batching_change_nothing(open_mirror, uri):
    changes = story()
    mirror = open_mirror()
    for change in changes:
        mirror.write([change])
    once = contents(uri)
    open_mirror().write(changes)
    again = open_mirror()
    again.write(changes[7:])
    again.write(changes[12:])
    assert contents(uri) == once


def test_a_restart_between_two_writes_changes_nothing(open_mirror, uri, tmp_path):
    changes = story()
    open_mirror().write(changes)
    whole = contents(uri)
    plan = make_plan(name="other")
    for begin in range(0, len(changes), 4):
        open_mirror(plan).write(changes[begin : begin + 4])
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name("demo").experiment_id)
    client.rename_experiment(client.get_experiment_by_name("other").experiment_id, "demo2")
    runs = client.search_runs([client.get_experiment_by_name("demo2").experiment_id])
    assert len(runs) == 5
    for run in runs:
        if run.info.run_name == "other":
            continue
        curves = whole[run.info.run_name][4]
        for key, curve in curves.items():
            found = [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
            assert found == curve


def test_artifacts_and_their_failures(open_mirror, uri, tmp_path):
    figure = tmp_path / "figure.html"
    figure.write_text("<p>")
    asked = []

    def artifacts(number):
        asked.append(number)
        if number == 1:
            raise RuntimeError("no figure today")
        return {"replicas.json": b"[]", "figures/profile.html": figure}

    mirror = open_mirror(artifacts=artifacts, report=lambda: {"report/index.html": b"<h1>"})
    mirror.write(story())
    assert sorted(set(asked)) == [0, 1, 2, 3]
    client, runs = MlflowClient(tracking_uri=uri), mirror.run_ids()
    folder = Path(client.get_run(runs[0]).info.artifact_uri)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    own = {"config.yaml", "overrides.txt", "environment.json"}
    assert files == own | {"replicas.json", "figures/profile.html"}
    assert yaml.safe_load((folder / "config.yaml").read_text())["controllers"]["clip"]["threshold"] == 0.5
    assert json.loads((folder / "environment.json").read_text()) == {"torch": "2"}
    assert contents(uri)["00001"][0] == "KILLED"
    assert (Path(client.get_run(mirror.parent_id).info.artifact_uri) / "report/index.html").exists()


@pytest.mark.parametrize("restart", [False, True])
def test_thinned_curves_keep_their_ends(open_mirror, uri, restart):
    """100 rungs, at most 20 points; the last rung of a trial pruned in between is there, too."""
    plan, journal = make_plan(report_every=1), Journal()
    journal.trial(0, "RUNNING")
    for rung in range(1, 101):
        journal.add("rung", 0, {"rung": rung, "step": rung, "metrics": {"valid/error": 1 / rung}, "values": [1 / rung]})
    journal.trial(0, "COMPLETE", (0.01,), step=100)
    journal.trial(1, "RUNNING")
    for rung in range(1, 33):
        journal.add("rung", 1, {"rung": rung, "step": rung, "metrics": {"valid/error": 1 / rung}, "values": [1 / rung]})
    cut = len(journal.changes)
    journal.trial(1, "PRUNED", (1 / 32,), step=32)
    mirror = open_mirror(plan, points=20)
    mirror.write(journal.changes[:cut])
    if restart:
        mirror = open_mirror(plan, points=20, last_rung=lambda number: (32, {"valid/error": 1 / 32}))
    mirror.write(journal.changes[cut:])
    curves = {name: [step for step, _, _ in contents(uri)[name][4]["valid/error"]] for name in ("00000", "00001")}
    assert curves == {"00000": list(range(5, 101, 5)), "00001": [5, 10, 15, 20, 25, 30, 32]}


def test_values_that_are_not_finite_stay_out(open_mirror, uri):
    journal = Journal()
    journal.trial(0, "RUNNING")
    metrics = {"train/loss": float("inf"), "valid/error": float("nan"), "objective": 0.5}
    journal.add("rung", 0, {"rung": 1, "step": 10, "metrics": metrics, "values": [0.5]})
    mirror = open_mirror()
    mirror.write(journal.changes)
    assert set(contents(uri)["00000"][4]) == {"objective"}


def test_a_server_that_is_away_is_a_store_error_soon():
    view = SweepView("demo", SweepState.RUNNING, {})
    absent = MlflowMirror("http://127.0.0.1:9", view, make_plan(), TrackerOptions(metrics=KEYS))
    begin = time.monotonic()
    with pytest.raises(StoreError, match="MLflow"):
        absent.write(story())
    assert time.monotonic() - begin < 20


def test_a_write_that_fails_half_way_is_repeated_without_doubles(open_mirror, uri, monkeypatch):
    mirror, changes, log, calls = open_mirror(), story(), RunStore.log, []

    def failing(self, *args):
        calls.append(1)
        log(self, *args)
        if len(calls) == 3:
            raise ConnectionError("reset by peer")

    monkeypatch.setattr(RunStore, "log", failing)
    with pytest.raises(StoreError, match="reset by peer"):
        mirror.write(changes)
    mirror.write(changes)
    found = contents(uri)
    assert sorted(found) == ["00000", "00001", "00002", "00003", "demo"]
    assert len(found["00000"][4]["valid/error"]) == 10
