"""Preparing the store, the UI's command, and a real server on loopback with proxied artifacts."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from rnnsweep.adapters.mlflow import server
from rnnsweep.adapters.mlflow.server import (
    comparison_link,
    experiment_link,
    prepare,
    run_link,
    serve,
    ui_command,
    ui_environment,
)
from rnnsweep.adapters.mlflow.store import find_runs
from rnnsweep.errors import ConfigError
from tests.kit.demo_sweep import VIEW, story
from tests.kit.second_user import as_nobody


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_prepared_store_has_a_write_ahead_log(template):
    connection = sqlite3.connect(template)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_ui_command_hides_passwords_and_stays_on_loopback():
    url = "postgresql://user:secret@db/mlflow"
    assert "secret" not in " ".join(ui_command(url))
    assert ui_environment(url)["MLFLOW_BACKEND_STORE_URI"] == url
    assert ui_environment(url, "T")["RNNSWEEP_UI_TOKEN"] == "T"
    assert "T" not in ui_command(url)
    assert ui_environment(url)["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert ui_environment(url)["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert "127.0.0.1" in ui_command(url)
    for host in ("0.0.0.0", "10.0.0.1", "example.org"):
        with pytest.raises(ConfigError):
            ui_command(url, host)
    with pytest.raises(ConfigError):
        ui_command("http://127.0.0.1:5000")


def test_links():
    link = comparison_link("http://127.0.0.1:5000/", "3", ["a", "b"])
    query = urllib.parse.parse_qs(urllib.parse.urlparse(link.replace("/#/", "/")).query)
    assert json.loads(query["runs"][0]) == ["a", "b"]
    assert json.loads(query["experiments"][0]) == ["3"]
    assert experiment_link("http://x", "3").startswith("http://x/#/experiments/3/runs?")
    assert "CHART" in experiment_link("http://x", "3", charts=True)
    assert "/experiments/3/runs/abc" in run_link("http://x", "3", "abc")


PREPARE = "import sys; from rnnsweep.adapters.mlflow.server import prepare; prepare(sys.argv[1])"


def contents(path):
    """Columns and rows of every table, without times; in what order MLflow writes constraints down changes."""
    with closing(sqlite3.connect(path)) as tables:
        names = [name for (name,) in tables.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: tables.execute(f'PRAGMA table_info("{name}")').fetchall() for name in names}
        rows = {name: tables.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    timeless = {
        name: [[x for x in row if not (isinstance(x, int) and x > 1e12)] for row in rows[name]] for name in rows
    }
    return columns, timeless


@pytest.mark.parametrize("kept", ["absent", "there", "no database", "cut short"])
def test_tables_that_were_kept_make_the_same_store(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    prepare(f"sqlite:///{tmp_path / 'first.db'}")
    (file,) = (tmp_path / "cache/rnnsweep/mlflow").iterdir()
    whole = file.read_bytes()
    if kept == "absent":
        file.unlink()
    elif kept != "there":
        file.write_bytes(b"no database" if kept == "no database" else whole[: len(whole) // 3])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made = []
    monkeypatch.setattr(server, "SqlAlchemyStore", lambda *args: made.append(1) or SqlAlchemyStore(*args))
    prepare(f"sqlite:///{tmp_path / 'second.db'}")
    assert len(made) == (kept != "there")
    (columns, rows), (other, others) = contents(tmp_path / "first.db"), contents(tmp_path / "second.db")
    assert columns == other
    assert str(tmp_path / "elsewhere/mlruns/0") in others["experiments"][0]
    assert {**others, "experiments": 0} == {**rows, "experiments": 0}
    assert file.read_bytes() == whole or contents(file)[0] == columns


@pytest.mark.slow
def test_killed_while_it_makes_the_tables_it_makes_them_again(tmp_path):
    path, draft = tmp_path / "mlflow.db", tmp_path / "mlflow.db.draft"
    nothing_kept = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.Popen([sys.executable, "-c", PREPARE, f"sqlite:///{path}"], env=nothing_kept)
    while not (draft.is_file() and draft.stat().st_size):  # the first tables are there, most are not
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not path.exists()
    prepare(f"sqlite:///{path}")
    assert MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    assert sorted(file.name for file in tmp_path.iterdir() if "draft" in file.name) == []


@pytest.mark.slow
def test_two_processes_may_prepare_at_once(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    both = [subprocess.Popen([sys.executable, "-c", PREPARE, uri]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]


TOKEN = "token-of-the-server-tests"
DELETE = """
import sys, urllib.error, urllib.request
base, experiment = sys.argv[1:]
body = ('{"experiment_id": "%s"}' % experiment).encode()
for version in ("api", "ajax-api"):
    for headers in ({}, {"Authorization": "Bearer no"}):
        url = f"{base}/{version}/2.0/mlflow/experiments/delete"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
        try:
            print(urllib.request.urlopen(request, timeout=30).status)
        except urllib.error.HTTPError as error:
            print(error.code)
"""


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check_strangers(base: str, experiment: str) -> None:
    """Another user of this machine, where the tests may become one, can delete nothing."""
    command = [*as_nobody(), sys.executable, "-c", DELETE, base, experiment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["401"] * 4


@pytest.mark.slow
def test_a_real_server_with_proxied_artifacts(open_mirror, uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", str(tmp_path / "proxied"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    port = free_port()
    server = serve(uri, port=port, timeout=120, token=TOKEN)
    try:
        base = f"http://127.0.0.1:{port}"
        mirror = open_mirror(at=base, artifact_root=None, artifacts=lambda number: {"deep/replicas.json": b"[1]"})
        mirror.write(story())
        mirror.write(story())
        client = MlflowClient(tracking_uri=base)
        run_id = mirror.run_ids()[0]
        assert find_runs(base, VIEW)[1] == mirror.run_ids()
        assert len(client.get_metric_history(run_id, "valid/error")) == 10
        local = client.download_artifacts(run_id, "deep/replicas.json", str(tmp_path))
        assert Path(local).read_text() == "[1]"
        assert client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:")
        assert status(base) == 401
        assert status(base, Cookie=f"rnnsweep-{port}={TOKEN}") == 200
        check_strangers(base, client.get_run(run_id).info.experiment_id)
        assert client.get_run(run_id).info.status == "FINISHED"
    finally:
        server.terminate()
        server.wait(timeout=30)
