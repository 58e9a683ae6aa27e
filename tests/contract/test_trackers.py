"""What every tracker promises: points, params, states and tags as MLflow has them, each point once, come what may."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnsweep.adapters.tracked_trials import TrackerFacts
from rnnsweep.adapters.trial_texts import TAGS
from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import Change, Mirror, SweepView
from rnnsweep.sweep.states import SweepState
from tests.adapters.mlflow.conftest import open_mirror, template, uri
from tests.kit import trackers
from tests.kit.demo_sweep import KEYS, STARTED, VIEW, make_plan, story
from tests.kit.trackers import READERS, ReadBack

__all__ = ["open_mirror", "template", "uri"]
LIVE = [kind for kind in READERS if kind != "wandb"]
"""Trackers that show a trial while it trains."""


@pytest.fixture(params=READERS)
def kind(request) -> str:
    return request.param


Opener = Callable[..., Mirror]


@pytest.fixture
def opened(kind: str, tmp_path: Path) -> Opener:
    """Makes the mirror anew on the same files, as the next session does."""

    def open_anew(changes: list[Change], points: int = 200, view: SweepView = VIEW) -> Mirror:
        facts = TrackerFacts(points, lambda: KEYS, lambda params: "srn-10")
        of = lambda trial: [change for change in changes if change.trial == trial]  # noqa: E731
        return trackers.build(kind, tmp_path, view, make_plan(), facts, of)

    return open_anew


def read(kind: str, tmp_path: Path) -> ReadBack:
    return READERS[kind](tmp_path / "demo")


def rounded(kind: str, points) -> dict:
    """TensorBoard's scalars have 24 bits; the others must be equal to the bit."""
    single = (lambda x: struct.unpack("f", struct.pack("f", x))[0]) if kind == "tensorboard" else float
    counted: dict = {}
    for (trial, key, step, value), count in points.items():
        at = (trial, key, step, single(value))
        counted[at] = counted.get(at, 0) + count
    return counted


def mlflow_points(mirror, uri) -> dict:
    from mlflow import MlflowClient

    client, points = MlflowClient(uri), {}
    for trial, run_id in mirror.run_ids().items():
        for key in client.get_run(run_id).data.metrics:
            points |= {(trial, key, p.step, p.value): 1 for p in client.get_metric_history(run_id, key)}
    return points


@pytest.mark.parametrize("points", [200, 4])
def test_it_has_what_mlflow_has(kind, opened, open_mirror, uri, tmp_path, points):
    from mlflow import MlflowClient

    changes = story()
    opened(changes, points).write(changes)
    mlflow = open_mirror(points=points, shape_key=lambda params: "srn-10")
    mlflow.write(changes)
    found = read(kind, tmp_path)
    assert rounded(kind, found.points) == rounded(kind, mlflow_points(mlflow, uri))
    assert found.states == {0: "COMPLETE", 1: "PRUNED", 2: "FAILED", 3: "COMPLETE"}
    for trial, run_id in mlflow.run_ids().items():
        data = MlflowClient(uri).get_run(run_id).data
        assert found.params[trial] == data.params
        tags = {key: value for key, value in found.tags[trial].items() if key in TAGS}
        assert tags == {key: value for key, value in data.tags.items() if key in TAGS and value}


def test_writing_twice_is_writing_once(kind, opened, tmp_path):
    changes = story()
    mirror = opened(changes)
    mirror.write(changes)
    once = read(kind, tmp_path)
    mirror.write(changes)
    opened(changes).write(changes)
    assert read(kind, tmp_path) == once
    assert set(once.points.values()) == {1}


def test_a_session_goes_on_from_any_entry(kind, opened, tmp_path):
    """The cursor may be behind what is written, by any number of entries; then they come again."""
    changes = story()
    opened(changes).write(changes)
    whole = read(kind, tmp_path)
    for cut in (2, 9, len(changes) // 2, len(changes) - 1):
        mirror = opened(changes)
        assert mirror.holds([changes[:cut]])
        mirror.write(changes[cut : cut + 3])
        mirror.write(changes[cut + 3 :])
        mirror.close()
        assert read(kind, tmp_path) == whole, cut


@pytest.mark.parametrize("size", [1, 7])
def test_sessions_of_any_length_make_the_same_files(kind, opened, tmp_path, size):
    changes = story(3)
    opened(changes).write(changes)
    whole, other = read(kind, tmp_path), tmp_path / "other"
    for begin in range(0, len(changes), size):
        facts = TrackerFacts(200, lambda: KEYS, lambda params: "srn-10")
        of = lambda trial, begin=begin: [c for c in changes[: begin + size] if c.trial == trial]  # noqa: E731
        mirror = trackers.build(kind, other, VIEW, make_plan(), facts, of)
        assert not begin or mirror.holds([changes[:begin]])
        mirror.write(changes[begin : begin + size])
        mirror.close()
    assert READERS[kind](other / "demo") == whole


@pytest.mark.parametrize("kind", LIVE, indirect=True)
def test_open_trials_have_their_curves(kind, opened, tmp_path):
    changes = story()
    part = next(place for place, change in enumerate(changes) if change.kind == "trial" and change.data["values"])
    opened(changes).write(changes[:part])
    steps = sorted(step for _, key, step, _ in read(kind, tmp_path).points if key == "objective")
    assert steps == [10 * rung for rung in range(1, 11)]


def test_what_was_deleted_is_missed_and_written_anew(kind, opened, tmp_path):
    changes = story()
    opened(changes).write(changes)
    whole = read(kind, tmp_path)
    files = sorted(path for path in (tmp_path / "demo").rglob("*") if path.is_file() and not _is_scratch(path))
    assert len(files) > 2
    for file in files:
        if not file.exists():  # a run of W&B that was made anew has another name
            continue
        file.unlink()
        mirror = opened(changes)
        assert not mirror.holds([changes]), file
        mirror.start_over()
        mirror.write(changes)
        mirror.close()
        assert read(kind, tmp_path) == whole, file


def _is_scratch(path: Path) -> bool:
    """Logs and copies beside a run of W&B."""
    return path.suffix == ".log" or "files" in path.parts


def test_a_torn_end_is_missed_or_mended(kind, opened, tmp_path):
    changes = story()
    opened(changes).write(changes)
    whole = read(kind, tmp_path)
    files = [path for path in (tmp_path / "demo").rglob("*") if path.is_file() and not _is_scratch(path)]
    largest = max(files, key=lambda path: path.stat().st_size)
    for lost in (1, 17, 200):
        with largest.open("r+b") as stream:
            stream.truncate(max(0, largest.stat().st_size - lost))
        mirror = opened(changes)
        assert not mirror.holds([changes])
        mirror.start_over()
        mirror.write(changes)
        mirror.close()
        assert read(kind, tmp_path) == whole
        files = [path for path in (tmp_path / "demo").rglob("*") if path.is_file() and not _is_scratch(path)]
        largest = max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("kind", LIVE, indirect=True)
def test_a_write_torn_by_a_kill_is_repeated_without_doubled_points(kind, opened, tmp_path):
    """All entries come again over files that end anywhere."""
    changes = story()
    opened(changes).write(changes)
    whole = read(kind, tmp_path)
    growing = [p for p in (tmp_path / "demo").rglob("*") if "tfevents" in p.name or p.name == "curves.csv"]
    for file in growing:
        size = file.stat().st_size
        for left in {1, 5, size // 3, size // 2, size - 3, size - 40}:
            with file.open("r+b") as stream:
                stream.truncate(max(0, left))
            mirror = opened(changes)
            mirror.holds([])
            mirror.write(changes)
            mirror.close()
            assert read(kind, tmp_path) == whole, (file.name, left)


def test_a_place_that_cannot_be_written_is_away_and_loses_nothing(kind, opened, tmp_path):
    changes = story()
    (tmp_path / "demo").write_text("in the way")
    mirror = opened(changes)
    for _ in range(2):
        with pytest.raises(StoreError, match=kind):
            mirror.write(changes)
    (tmp_path / "demo").unlink()
    mirror.write(changes)
    mirror.close()
    found = read(kind, tmp_path)
    assert len(found.states) == 4 and set(found.points.values()) == {1}


def test_files_of_another_stores_sweep_of_the_same_name_are_left_alone(kind, opened, tmp_path):
    changes = story()
    opened(changes).write(changes)
    whole = read(kind, tmp_path)
    stranger = opened(changes, view=SweepView("demo", SweepState.RUNNING, {}, created=STARTED))
    assert not stranger.holds([changes])
    stranger.start_over()
    with pytest.raises(StoreError, match="another store's sweep"):
        stranger.write(changes)
    assert read(kind, tmp_path) == whole


def test_an_entry_that_it_cannot_take_is_told_apart_from_the_others(kind, opened, tmp_path):
    changes = story()
    broken = Change(10**6, "trial", 7, STARTED, {"state": "NONSENSE", "params": {}})
    mirror = opened(changes)
    for _ in range(2):
        with pytest.raises(ValueError, match="NONSENSE"):
            mirror.write([*changes, broken])
    mirror.write(changes)
    assert len(read(kind, tmp_path).states) == 4
