"""The tracker block: one unit or a list of them, checked before anything is written; older ledgers stay valid."""

from __future__ import annotations

import importlib.util

import pytest

from rnnsweep.app.config import trackers
from rnnsweep.app.config.load import from_json, load, to_json
from rnnsweep.app.config.trackers import check_trackers, tracker_blocks
from rnnsweep.errors import ConfigError

SMALL = ("cluster=inline",)


def loaded(*overrides: str, sweep: str | None = "quickstart"):
    return load(sweep, [*SMALL, *overrides], check_units=False)


def test_one_tracker_stands_as_it_always_did():
    config = loaded("tracker.points=50")
    assert config.resolved["tracker"] == {"kind": "mlflow", "points": 50}
    assert list(config.trackers) == ["mlflow"] and config.trackers["mlflow"]["points"] == 50
    assert loaded("tracker=none").trackers == {} == loaded("tracker=[]").trackers


def test_several_stand_below_their_names():
    config = loaded("tracker=[mlflow,csv,tensorboard]", "tracker.csv.points=1e2", "tracker.mlflow.points=7")
    assert list(config.trackers) == ["mlflow", "csv", "tensorboard"]
    assert [block["points"] for block in config.trackers.values()] == [7, 100, 200]
    assert isinstance(config.trackers["csv"]["points"], int)
    again = from_json(to_json(config))
    assert again.trackers == config.trackers


def test_a_ledger_of_before_is_read():
    """It has one tracker's block and no receivers of messages."""
    data = to_json(loaded())
    del data["variants"][0]["resolved"]["notify"]
    config = from_json(data)
    assert config.trackers == {"mlflow": {"kind": "mlflow", "points": 200}} and config.notify == ()


def test_a_sweep_may_name_several(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("defaults:\n  - quickstart\n  - override /tracker: [csv, parquet]\n")
    assert list(loaded(sweep=str(file)).trackers) == ["csv", "parquet"]
    # typed last: one for the list, whose keys are no longer meant
    file.write_text(file.read_text() + "tracker:\n  csv:\n    points: 9\n")
    assert loaded(sweep=str(file)).trackers["csv"]["points"] == 9
    assert list(loaded("tracker=mlflow", sweep=str(file)).trackers) == ["mlflow"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tracker=[csv]", "tracker.points=5"], r"tracker\.points: unknown key.*tracker\.csv\.points"),
        (["tracker=[csv,nothing]"], "tracker='nothing': unknown unit"),
        (["tracker=[csv,[parquet]]"], r"tracker=.*names no unit.*tracker=\[NAME,\.\.\.\]"),
        (["family=[srn,lstm]"], "family=.*names no unit; allowed: family=NAME$"),
        (["tracker=csv", "tracker.points=1"], "tracker.points=1"),
        (["tracker=csv", "tracker.kind=cvs"], "tracker.kind='cvs': unknown value.*Did you mean 'csv'"),
        (["tracker=csv", "tracker.folder=null"], "tracker.folder: is no folder"),
        (["tracker=[csv,parquet]", "tracker.parquet.folder=csv"], "is the folder of tracker.csv.folder"),
        (["tracker=[csv,parquet]", "tracker.parquet.kind=csv"], "is of the same kind as tracker.csv"),
        (["tracker=wandb", "tracker.mode=sometimes"], "tracker.mode='sometimes'"),
        (["tracker=wandb", "tracker.project=null"], "tracker.project: is no name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(trackers.LIBRARIES))
def test_a_library_that_is_not_installed_is_named_with_its_extra(kind, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == kind else known(name))
    with pytest.raises(ConfigError, match=rf"tracker='{kind}': needs {kind}.*extra '{kind}'"):
        loaded(f"tracker={kind}")


def test_online_needs_a_key_that_is_known_before(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    block = {"kind": "wandb", "points": 2, "folder": "w", "project": "p", "entity": None, "mode": "online"}
    with pytest.raises(ConfigError, match="wandb login"):
        check_trackers(block)
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password k\n")
    (tmp_path / ".netrc").chmod(0o600)  # as it is made: netrc refuses one that others may read
    check_trackers(block)
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "k")
    check_trackers(block)
    assert list(tracker_blocks(block)) == ["wandb"]
