"""Files are replaced whole; what killed writers left is removed, what others write is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from rnnsweep.report.atomic_files import remove_drafts, write

KILLED = """
import os, signal, pathlib, sys
from rnnsweep.report.atomic_files import write
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write(pathlib.Path(sys.argv[1]), b"half")
"""


def test_a_killed_writer_leaves_a_draft_that_the_next_report_removes(tmp_path):
    target = tmp_path / "page.html"
    write(target, b"whole")
    process = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert process.returncode == -9
    (draft,) = tmp_path.glob(".*")
    assert target.read_bytes() == b"whole"
    assert remove_drafts(tmp_path) == [draft.name]
    assert list(tmp_path.iterdir()) == [target]


def test_drafts_of_living_writers_stay(tmp_path):
    host = next(iter_draft_host(tmp_path))
    ours = tmp_path / f".a.png.{host}-{os.getpid()}.draft"
    other = tmp_path / ".a.png.elsewhere-1.draft"
    for draft in (ours, other):
        draft.write_bytes(b"")
    assert remove_drafts(tmp_path) == []
    old = time.time() - 7200
    os.utime(other, (old, old))
    assert remove_drafts(tmp_path) == [other.name]  # an hour old: nobody writes it any more


def iter_draft_host(folder):
    """The machine's name as drafts have it."""
    import pathlib

    names = []
    patched = pathlib.Path.replace
    pathlib.Path.replace = lambda self, target: names.append(self.name) or patched(self, target)
    try:
        write(folder / "probe", b"")
    finally:
        pathlib.Path.replace = patched
    (folder / "probe").unlink()
    yield names[0].rpartition(".")[0].rpartition(".")[2].rpartition("-")[0]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "page.html", b"x")
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_earlier_versions_go_too(tmp_path):
    for name in (".history.png.4711", ".hidden", "history.png"):
        (tmp_path / name).write_bytes(b"")
    assert remove_drafts(tmp_path) == [".history.png.4711"]
    assert remove_drafts(tmp_path / "not there") == []
