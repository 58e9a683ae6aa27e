"""MLflow's tables read without MLflow; stores that were copied; sweeps of one name from two stores."""

import dataclasses
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from rnnsweep.adapters.mlflow import sqlite_tables
from tests.kit.demo_sweep import STARTED, VIEW, story


def path_of(uri):
    return Path(uri.removeprefix("sqlite:///"))


def test_what_the_tracker_wrote_is_read_back(open_mirror, uri):
    mirror = open_mirror()
    assert sqlite_tables.sweep_run(path_of(uri), VIEW) is None
    assert sqlite_tables.trial_runs(path_of(uri), VIEW) == {}
    mirror.write(story())
    assert sqlite_tables.sweep_run(path_of(uri), VIEW) == (mirror.parent_id, mirror.experiment_id)
    assert sqlite_tables.trial_runs(path_of(uri), VIEW) == mirror.run_ids()
    folder = sqlite_tables.artifact_folder(path_of(uri), mirror.run_ids()[0])
    assert folder is not None
    assert (folder / "config.yaml").is_file()
    assert sqlite_tables.artifact_folder(path_of(uri), "nobody") is None
    counts = sqlite_tables.points_by_curve(path_of(uri))
    own = [count for (run_id, _), count in counts.items() if run_id == mirror.run_ids()[0]]
    assert sorted(own) == [1, 1, 10, 10, 10]  # three keys at ten rungs, and a stand-in for each other key


def test_no_store_is_nothing_and_none_is_made(tmp_path):
    assert sqlite_tables.trial_runs(tmp_path / "mlflow.db", VIEW) == {}
    assert list(tmp_path.iterdir()) == []


def test_reading_costs_no_import_of_mlflow():
    modules = "rnnsweep.adapters.mlflow.sqlite_tables, rnnsweep.adapters.mlflow.tracker"
    code = f"import sys, {modules}; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_sweep_of_another_store_is_not_ours_even_without_its_tag():
    other = dataclasses.replace(VIEW, created=STARTED + 1)
    assert VIEW.identity != other.identity
    assert sqlite_tables.owns(VIEW, VIEW.identity, None)
    assert not sqlite_tables.owns(VIEW, other.identity, int(VIEW.created * 1000))
    assert sqlite_tables.owns(VIEW, None, int(VIEW.created * 1000))  # as an older rnnsweep left it
    assert not sqlite_tables.owns(VIEW, None, int(other.created * 1000))


def test_a_copied_store_never_writes_into_the_original(open_mirror, uri, tmp_path):
    """`cp -a` and go on: runs, experiment and every new artifact belong to the copy; the original stays as it is."""
    changes = story()
    first = tmp_path / "first"
    first.mkdir()
    shutil.move(path_of(uri), first / "mlflow.db")
    place = {"at": f"sqlite:///{first / 'mlflow.db'}", "artifact_root": str(first / "artifacts")}
    open_mirror(**place, artifacts=lambda number: {"mark.txt": b"original"}).write(changes)
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    before = {file: file.stat().st_mtime_ns for file in (first / "artifacts").rglob("*") if file.is_file()}
    there = {"at": f"sqlite:///{copy / 'mlflow.db'}", "artifact_root": str(copy / "artifacts")}
    mirror = open_mirror(**there, artifacts=lambda number: {"mark.txt": b"copy"})
    mirror.write(changes)
    assert {file: file.stat().st_mtime_ns for file in (first / "artifacts").rglob("*") if file.is_file()} == before
    marks = sorted((copy / "artifacts").rglob("mark.txt"))
    assert len(marks) == 4
    assert {mark.read_bytes() for mark in marks} == {b"copy"}
    assert sqlite_tables.artifact_folder(copy / "mlflow.db", mirror.run_ids()[0]).is_relative_to(copy)


def test_only_what_came_along_is_moved(open_mirror, uri, tmp_path):
    """Without a sweep's config at hand, as for the UI: artifacts that somebody keeps elsewhere stay there."""
    open_mirror(artifact_root=str(tmp_path / "elsewhere" / "artifacts")).write(story())
    assert sqlite_tables.relocate(path_of(uri), tmp_path / "artifacts") == 0
    shutil.copytree(tmp_path / "elsewhere" / "artifacts", tmp_path / "artifacts")
    assert sqlite_tables.relocate(path_of(uri), tmp_path / "artifacts") == 1
    assert sqlite_tables.relocate(path_of(uri), tmp_path / "artifacts") == 0
    with closing(sqlite3.connect(path_of(uri))) as connection:
        places = [place for (place,) in connection.execute("SELECT artifact_uri FROM runs")]
    assert all(place.startswith(f"{tmp_path}/artifacts/demo/") for place in places)
