"""No name leads out of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.service.safe_files import open_below, parts_of, plain_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_text("fine")
    (root / "a" / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "inner").symlink_to(root / "a")
    os.mkfifo(root / "a" / "pipe")
    return root


def test_a_plain_file_is_opened(root: Path):
    with os.fdopen(open_below(root, ("a", "b", "file"))) as file:
        assert file.read() == "fine"


@pytest.mark.parametrize(
    "parts",
    [
        ("a", "link"),
        ("folder", "secret"),
        ("inner", "b", "file"),
        ("a", "pipe"),
        ("a", "b"),
        ("a", "b", "file", "x"),
        ("nothing",),
        ("a", "x" * 300),
    ],
)
def test_links_pipes_and_folders_are_none(root: Path, parts: tuple[str, ...]):
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    with pytest.raises(OSError, match=r"no plain file|Errno"):
        open_below(root, parts)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../x", "a//b", "a/./b", "a/", "a\0b", "a\\..\\b", ".."])
def test_odd_paths_are_none(path: str):
    with pytest.raises(ConfigError, match="is no path of an artifact"):
        parts_of(path)


def test_only_plain_files_are_listed(root: Path):
    assert list(plain_files(root, root / "a")) == [("a/b/file", 4)]
