"""A data file is hashed once, and a change of it is seen whatever it does to its size and time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.provenance import data_files
from rnnsweep.app.provenance.data_files import ABSENT, entry, file_entries, tasks_of
from rnnsweep.core.datasets.dataset_files import SAMPLES
from rnnsweep.core.tasks.char_lm import CharLm
from rnnsweep.core.tasks.frame_regression import FrameRegression
from rnnsweep.core.tasks.polyphonic_music import PolyphonicMusic
from rnnsweep.core.tasks.sequential_digits import SequentialDigits
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.core.tasks.temporal_order import TemporalOrder


@pytest.fixture
def settled(monkeypatch) -> None:
    """Files of a moment ago are old enough to be known by their times."""
    monkeypatch.setattr(data_files, "_SETTLED_NS", 0)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("to be or not to be " * 20)
    return file


def test_an_unchanged_file_is_not_read_again(text: Path, settled, monkeypatch) -> None:
    first = file_entries([[text]], {})
    monkeypatch.setattr(data_files, "_hashed", lambda file: pytest.fail(f"{file} was read"))
    assert file_entries([[text]], first) == first


def test_a_file_of_the_same_size_with_its_time_set_back_is_seen(text: Path, settled) -> None:
    first, fact = file_entries([[text]], {}), text.stat()
    text.write_text(text.read_text().replace("or", "of"))
    os.utime(text, ns=(fact.st_atime_ns, fact.st_mtime_ns))
    assert (text.stat().st_size, text.stat().st_mtime_ns) == (fact.st_size, fact.st_mtime_ns)
    second = file_entries([[text]], first)
    assert second[str(text)]["sha256"] != first[str(text)]["sha256"]


def test_a_touched_file_keeps_its_digest_and_gets_new_times(text: Path, settled) -> None:
    first = file_entries([[text]], {})
    os.utime(text, ns=(1, 1))
    second = file_entries([[text]], first)
    assert second[str(text)]["sha256"] == first[str(text)]["sha256"]
    assert second[str(text)]["stat"] != first[str(text)]["stat"]


def test_a_file_that_changed_just_now_is_read_again_next_time(text: Path) -> None:
    """Another write within one tick of the clock would leave no other trace."""
    assert file_entries([[text]], {})[str(text)]["stat"] is None


def test_many_files_are_one_entry_that_sees_each(tmp_path: Path, settled) -> None:
    files = [tmp_path / f"{number // 50}" / f"{number}.mid" for number in range(data_files.MANY + 1)]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text(file.name)
    (tmp_path / "notes.txt").write_text("nobody reads it")
    first = file_entries([files], {})
    assert list(first) == [str(tmp_path)]
    (tmp_path / "notes.txt").write_text("edited")
    assert file_entries([files], first) == first
    files[3].write_text("other")
    assert file_entries([files], first)[str(tmp_path)]["sha256"] != first[str(tmp_path)]["sha256"]


def test_a_file_that_is_gone_has_no_digest(text: Path, settled) -> None:
    kept = file_entries([[text]], {})[str(text)]
    text.unlink()
    assert entry(str(text), kept)["sha256"] == ABSENT


def test_packaged_samples_are_called_the_same_everywhere() -> None:
    assert list(file_entries([[SAMPLES / "text.txt"]], {})) == ["samples:text.txt"]
    assert entry("samples:text.txt", {}) == file_entries([[SAMPLES / "text.txt"]], {})["samples:text.txt"]


def test_tasks_say_what_they_read(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text("to be or not to be " * 20)
    (tmp_path / "README").write_text("not read")
    assert {file.name for file in CharLm(path=str(tmp_path)).data_files()} == {
        "ptb.train.txt",
        "ptb.valid.txt",
        "ptb.test.txt",
    }
    assert list(CharLm().data_files()) == [SAMPLES / "text.txt"]
    assert len(FrameRegression(length=20).data_files()) == len(list((SAMPLES / "frames").rglob("*.npy")))
    assert len(PolyphonicMusic(path="samples:midi").data_files()) == len(list((SAMPLES / "midi").rglob("*.mid")))
    assert list(PolyphonicMusic().data_files()) == [SAMPLES / "rolls.json"]
    assert list(TableTask().data_files()) == [SAMPLES / "japanese_vowels.parquet"]
    assert len(SequentialDigits(source="idx").data_files()) == 4
    assert list(SequentialDigits().data_files()) == list(TemporalOrder().data_files()) == []


def test_searched_and_enqueued_paths_count(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.txt" for name in "abc"]
    for file in files:
        file.write_text("to be or not to be " * 20)
    overrides = ["task=char_lm", f"task.path=choice({files[0]},{files[1]})", "objective.metric=valid/loss"]
    config = load(None, overrides, check_units=False)
    tasks = tasks_of(config.variants, config.plan.space, [{"task.path": str(files[2])}])
    found = [list(task.data_files()) for task in tasks]
    assert {str(file) for group in found for file in group} >= {str(file) for file in files}
