"""A sweep's own folder: claimed, kept apart, and removed only by its owner."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.sweep_folder import SweepFolder, replace
from rnnsweep.errors import StoreError
from rnnsweep.sweep.views import SweepView
from tests.kit.demo_sweep import STARTED, VIEW

OTHER = SweepView("demo", VIEW.state, {}, created=STARTED + 9)


def test_whose_it_is(tmp_path):
    mine, other = SweepFolder("csv", tmp_path, VIEW), SweepFolder("csv", tmp_path, OTHER)
    assert not mine.is_ours
    mine.claim()
    mine.claim()
    assert mine.is_ours and not other.is_ours
    other.clear()
    assert mine.path.is_dir()
    with pytest.raises(StoreError, match="another store's sweep of this name"):
        other.claim()
    mine.clear()
    assert not mine.path.exists()
    other.claim()
    assert other.is_ours


def test_errors_of_files_say_where(tmp_path):
    folder = SweepFolder("csv", tmp_path, VIEW)
    with pytest.raises(StoreError, match=r"csv: .*nowhere: No such file"), folder.errors():
        (tmp_path / "nowhere").read_text()
    with pytest.raises(StoreError, match="csv: ValueError: bad"), folder.errors():
        raise ValueError("bad\nand more")


def test_a_file_is_replaced_whole(tmp_path):
    replace(tmp_path / "a.csv", b"one")
    replace(tmp_path / "a.csv", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"] and (tmp_path / "a.csv").read_bytes() == b"two"
