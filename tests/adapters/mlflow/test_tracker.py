"""The MLflow tracker on a real SQLite store: the layout that the UI wants, exactly once, whatever is repeated."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from rnnsweep.adapters.mlflow.formatting import ORDER
from rnnsweep.adapters.mlflow.store import RunStore, find_runs
from rnnsweep.adapters.mlflow.tracker import MlflowMirror
from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
from rnnsweep.adapters.trial_texts import legal_name
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.ports import Change, SweepView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState
from tests.kit.demo_sweep import KEYS, STARTED, VIEW, Journal, make_plan, story


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


def test_artifacts_that_are_written_again_take_the_place_of_the_first(open_mirror, uri, tmp_path):
    (tmp_path / "figures").mkdir()
    figure = tmp_path / "figures" / "profile.html"
    figure.write_text("<p>1")
    mirror = open_mirror(artifacts=lambda number: {"figures": figure.parent, "replicas.json": figure})
    mirror.write(story())
    figure.write_text("<p>2")
    mirror.write(story())
    folder = Path(MlflowClient(tracking_uri=uri).get_run(mirror.run_ids()[0]).info.artifact_uri)
    assert [(folder / name).read_text() for name in ("figures/profile.html", "replicas.json")] == ["<p>2", "<p>2"]


def test_a_report_is_prepared_once_and_while_trials_train(open_mirror, uri, caplog):
    done = []

    def prepare():
        done.append("prepared")
        raise RuntimeError("not today")

    mirror = open_mirror(prepare=prepare, report=lambda: done.append("drawn") or {})
    changes = story()
    for change in changes[:-1]:
        mirror.write([change])
    assert done == ["prepared"]
    assert "cannot be prepared" in caplog.text
    mirror.write(changes[-1:])
    assert done == ["prepared", "drawn"]
    late = open_mirror(prepare=prepare)  # what has ended needs no more than the report itself
    late.write(changes)
    assert done == ["prepared", "drawn"]


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
    absent = MlflowMirror("http://127.0.0.1:9", view, make_plan(), TrackerOptions(metrics=lambda: KEYS))
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


# ------------------------------------------------------------------ what a store cannot take, or has lost


def test_illegal_names_texts_and_refused_points_are_no_reason_to_stop(open_mirror, uri):
    """An extension's tag, a unit's and a metric's name with @ and a comma, a surrogate, a point that no unit takes."""

    def refused(params):
        raise ConfigError("out of range", key="family.hidden", value=20.5)

    space = Space((Dimension("family.hidden", "float", 16.0, 32.0), Dimension("my@clip.threshold", "float", 0.0, 1.0)))
    params = {"family.hidden": float("nan"), "my@clip.threshold": 0.5}
    journal = Journal()
    journal.trial(0, "RUNNING", params=params)
    metrics = {"valid/MAP@5,x": 0.25, "objective": 0.25}
    journal.add("rung", 0, {"rung": 1, "step": 10, "metrics": metrics, "values": [0.25]})
    journal.trial(0, "COMPLETE", (0.25,), params=params, step=10, extra={"objective@200": 0.5})
    journal.trial(1, "RUNNING", params=params)
    journal.trial(1, "FAILED", params=params, reason="bug: \udc80 in a path\0")
    plan = make_plan(space=space)
    keys = ("valid/MAP@5,x", "objective")
    for direct in (True, False):
        mirror = open_mirror(plan, shape_key=refused, metrics=lambda: keys)
        mirror._opened()._direct = mirror._opened()._direct if direct else None  # through MLflow's client as well
        mirror.write(journal.changes)
    runs = contents(uri)
    _, _, given, tags, curves = runs["00000"]
    assert given == {"family.hidden": "nan", legal_name("my@clip.threshold"): "0.5"}
    assert (tags["objective_at_200"], tags["shape_key"]) == ("0.5", "")
    assert [value for _, value, _ in curves[legal_name("valid/MAP@5,x")]] == [0.25]
    assert runs["00001"][3]["reason"] == "bug: \\udc80 in a path\\x00"
    assert sorted(runs["00001"][4]) == sorted(map(legal_name, keys))


def test_a_mistake_in_one_entry_is_no_outage(open_mirror):
    with pytest.raises(ValueError, match="TrialState"):
        open_mirror().write([*story()[:3], Change(9, "trial", 0, 1.0, {"state": None})])


@pytest.mark.parametrize("error", [ConnectionError("reset"), sqlite3.OperationalError("database is locked")])
def test_a_store_that_is_away_is_a_store_error(open_mirror, monkeypatch, error):
    def failing(*_):
        raise error

    monkeypatch.setattr(RunStore, "log", failing)
    with pytest.raises(StoreError, match=str(error)):
        open_mirror().write(story())


def test_two_sweeps_of_one_name_have_an_experiment_each(open_mirror, uri):
    """Two stores and one server: neither writes into the other's runs, whoever comes first or again."""
    ours, theirs = open_mirror(), open_mirror(created=STARTED + 77)
    ours.write(story())
    mine = contents(uri)
    theirs.write(story(rungs=5))
    assert contents(uri) == mine
    assert theirs.experiment_id != ours.experiment_id
    assert set(ours.run_ids().values()).isdisjoint(theirs.run_ids().values())
    again = open_mirror(created=STARTED + 77)
    again.write(story(rungs=5))
    assert (again.experiment_id, again.run_ids()) == (theirs.experiment_id, theirs.run_ids())
    other = SweepView("demo", SweepState.RUNNING, {}, created=STARTED + 77)
    assert find_runs(uri, other) == (theirs.experiment_id, theirs.run_ids())
    assert find_runs(uri, VIEW) == (ours.experiment_id, ours.run_ids())


def test_runs_of_an_older_version_go_on_as_their_own(open_mirror, uri):
    """Without tags of identity and order, and with a text of a param that we would write otherwise now."""
    open_mirror().write(story()[:10])
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM tags WHERE key IN ('rnnsweep.identity', 'rnnsweep.order')")
        connection.execute("UPDATE params SET value = '5e-1' WHERE key = 'controllers.clip.threshold'")
        connection.commit()
    mirror = open_mirror()
    mirror.write(story())
    assert len(contents(uri)) == 5
    assert contents(uri)["00000"][2]["controllers.clip.threshold"] == "5e-1"  # MLflow never changes a param


def delete_run(client, mirror, uri):
    client.delete_run(mirror.run_ids()[1])


def delete_parent(client, mirror, uri):
    client.delete_run(mirror.parent_id)


def delete_experiment(client, mirror, uri):
    client.delete_experiment(mirror.experiment_id)


def remove_points(client, mirror, uri):
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM metrics WHERE step = 50")
        connection.commit()


def remove_one_point(client, mirror, uri):
    """Fewer than the run has stand-ins for keys that nothing reported."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        gone = "DELETE FROM metrics WHERE run_uuid = ? AND key = 'valid/error' AND step = 50"
        assert connection.execute(gone, [mirror.run_ids()[0]]).rowcount == 1
        connection.commit()


def remove_run(client, mirror, uri):
    """For good, as MLflow's garbage collector does."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [mirror.run_ids()[0]])
        connection.commit()


@pytest.mark.parametrize(
    "harm", [delete_run, delete_parent, delete_experiment, remove_points, remove_one_point, remove_run]
)
def test_what_was_deleted_is_missed_and_comes_back_once(open_mirror, uri, harm):
    changes = story()
    mirror = open_mirror()
    mirror.write(changes)
    assert open_mirror().holds([changes])
    whole = contents(uri)
    harm(MlflowClient(tracking_uri=uri), mirror, uri)
    later = open_mirror()
    if harm not in (delete_parent, delete_experiment):  # those come back by being looked at
        assert not later.holds([changes])
    later.write(changes)
    assert contents(uri) == whole
    assert open_mirror().holds([changes[:9], changes[9:]])


def test_what_was_never_written_is_not_missed(open_mirror):
    journal = Journal()
    journal.trial(0, "WAITING")
    mirror = open_mirror()
    assert mirror.holds([journal.changes])
    assert not mirror.holds([story()])


# ------------------------------------------------------------------ what the pages show


def test_the_sweeps_run_has_its_best_and_progress_as_curves(open_mirror, uri):
    for size in (1, 7, 100):  # however the journal is cut, and again
        mirror, changes = open_mirror(), story()
        for begin in range(0, len(changes), size):
            mirror.write(changes[begin : begin + size])
    curves = contents(uri)["demo"][4]
    values = {key: [(step, value) for step, value, _ in curve] for key, curve in curves.items()}
    assert values["sweep/complete"] == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (4, 2.0)]
    assert values["sweep/pruned"] == [(1, 0.0), (2, 1.0), (3, 1.0), (4, 1.0), (4, 1.0)]
    assert values["sweep/failed"] == [(1, 0.0), (2, 0.0), (3, 1.0), (4, 2.0), (4, 1.0)]
    assert [value for _, value in values["sweep/best"]] == [0.05, 0.05, 0.05, 0.05, 0.01]


def test_mlflow_sorts_ties_as_everything_else_does(open_mirror, uri):
    """Equal objectives: who solved earlier, then the lower number; MLflow alone would take the newest run."""
    journal = Journal()
    for number, solved in ((0, None), (1, 90), (2, 40), (3, 40), (4, None)):
        journal.trial(number, "RUNNING")
        journal.trial(number, "COMPLETE", (0.0,), step=100, solved_at=solved)
    mirror = open_mirror()
    mirror.write(journal.changes)
    client = MlflowClient(tracking_uri=uri)
    order = [f"tags.`{ORDER}` ASC"]
    found = client.search_runs([mirror.experiment_id], "tags.`rnnsweep.kind` = 'trial'", order_by=order)
    assert [int(run.data.tags["rnnsweep.trial"]) for run in found] == [2, 3, 1, 0, 4]
    text = client.get_run(mirror.parent_id).data.tags["mlflow.note.content"]
    best = "Best: trial 2, objective 0 (4 others tie, 1 of them solved at update 40 too; it has the lowest number)"
    assert best in text
    solved = {int(run.data.tags["rnnsweep.trial"]): run.data.tags["solved"] for run in found}
    assert solved == {0: "no", 1: "yes", 2: "yes", 3: "yes", 4: "no"}  # their metric solved_at is the budget
    again = open_mirror()  # the note of a later session says the same
    journal.sweep("COMPLETE")
    again.write(journal.changes[-1:])
    assert (
        "Best: trial 2, objective 0 (4 others tie" in client.get_run(mirror.parent_id).data.tags["mlflow.note.content"]
    )


def test_a_finished_sweep_is_compared_without_opening_mlflow(open_mirror, uri, monkeypatch):
    changes = story()
    open_mirror().write(changes)
    again = open_mirror()
    monkeypatch.setattr(MlflowMirror, "_opened", lambda self: pytest.fail("MLflow was opened"))
    assert again.holds([changes])
    monkeypatch.undo()
    client = MlflowClient(tracking_uri=uri)
    client.delete_run(open_mirror().run_ids()[0])
    assert not open_mirror().holds([changes])


def test_metrics_that_cannot_be_told_are_no_entrys_fault(open_mirror):
    """A unit of the sweep was removed: its entries wait, none is skipped."""
    journal = Journal()

    def removed():
        raise ConfigError("no such unit", key="controllers.mine")

    journal.trial(0, "RUNNING")
    with pytest.raises(StoreError, match="no such unit"):
        open_mirror(metrics=removed).write(journal.changes)


def test_paused_trials_are_scheduled_and_those_that_never_ran_have_no_run_until_they_end(open_mirror, uri):
    journal = Journal()
    for number in (0, 1, 2):
        journal.trial(number, "WAITING")
    journal.trial(0, "RUNNING", attempts=1)
    journal.rung(0, 1, 0.5)
    journal.trial(0, "PAUSED", attempts=1, step=10, reason="paused by request")
    for number in (1, 2):
        journal.trial(number, "PAUSED", reason="paused by request")
    mirror = open_mirror()
    mirror.write(journal.changes)
    found = contents(uri)
    assert sorted(found) == ["00000", "demo"]
    assert (found["00000"][0], found["00000"][3]["state"]) == ("SCHEDULED", "PAUSED")
    assert mirror.holds([journal.changes])
    # ended by a user, by way of WAITING and RUNNING as the machine writes it
    known = len(journal.changes)
    journal.trial(1, "WAITING", reason="paused by request")
    journal.trial(1, "RUNNING", reason="paused by request", attempts=1)
    journal.trial(1, "PRUNED", reason="ended by request: no use", finished=STARTED + 9)
    mirror.write(journal.changes[known:])
    found = contents(uri)
    assert (found["00001"][0], found["00001"][3]["reason"]) == ("KILLED", "ended by request: no use")
    assert mirror.holds([journal.changes])
