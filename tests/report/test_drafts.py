"""Files of a report appear whole."""

from __future__ import annotations

from pathlib import Path

from rnnsweep.report.drafts import remove_drafts, write_whole


def test_a_file_is_there_whole_and_its_draft_is_gone(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a.png", b"one") == tmp_path / "a.png"
    write_whole(tmp_path / "a.png", b"two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.png": b"two"}


def test_only_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    for name in (".a.png.123", ".index.html.7", ".hidden", "a.png.123", ".nothing."):
        (tmp_path / name).write_bytes(b"x")
    assert remove_drafts(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", ".nothing.", "a.png.123"]
    assert remove_drafts(tmp_path / "nowhere") == 0
