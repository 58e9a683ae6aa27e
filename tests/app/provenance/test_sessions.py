"""A resume under other code, versions or data: refused before anything is written, or accepted, said and marked."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import rnnsweep
from rnnsweep.app import environment
from rnnsweep.app.provenance.sessions import KEY, UNKNOWN, history
from rnnsweep.app.stores import place, reading_sweep
from rnnsweep.errors import ConfigError, ConfigWarning
from tests.kit.tiny import TINY


@pytest.fixture
def copied(tiny, tmp_path: Path) -> Path:
    """The finished sweep of three trials, in a store of its own."""
    shutil.copytree(tiny[0], tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def another(monkeypatch):
    """Let a library have another version from now on."""

    def install(library: str, version: str = "99.0") -> None:
        real = environment.version_of
        monkeypatch.setattr(environment, "version_of", lambda name: version if name == library else real(name))

    return install


def record(store: Path, name: str = "tiny") -> dict[str, Any]:
    with reading_sweep(place(store), name) as (_, view):
        return dict(view.config[KEY])


def files(store: Path) -> dict[Path, tuple[int, bytes]]:
    """Everything that is written in a store; the log and the index of SQLite come and go with a look."""
    kept = (file for file in store.rglob("*") if file.is_file() and not file.name.endswith(("-shm", "-wal")))
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in kept}


def resume(store: Path, *overrides: str, name: str = "tiny", **wishes: Any) -> rnnsweep.Sweep:
    return rnnsweep.resume(name, overrides, store=store, progress=False, **wishes)


def longer(store: Path, **wishes: Any) -> list[str | None]:
    """Train all trials further, and one more; what each was trained under."""
    return [row["fingerprints"] for row in resume(store, "budget.updates=40", extend=True, **wishes).table()]


def test_a_launch_and_each_resume_leave_a_record(copied: Path) -> None:
    before = record(copied)
    assert [session["fingerprint"] for session in before["sessions"]] == [0]
    resume(copied, "budget.trials=4")
    after = record(copied)
    assert [session["fingerprint"] for session in after["sessions"]] == [0, 0]
    assert len(after["fingerprints"]) == 1
    assert {"torch", "python", "numba"} <= set(after["fingerprints"][0]["versions"])
    assert history(after) == []


def test_what_has_changed_is_refused_in_one_line_and_nothing_is_written(copied: Path, another) -> None:
    before, version = files(copied), environment.version_of("torch")
    another("torch")
    with pytest.raises(ConfigError) as caught:
        longer(copied)
    assert f"torch {version} -> 99.0" in str(caught.value)
    assert "--accept-changes" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(copied) == before


def test_what_was_accepted_is_said_recorded_and_marked(copied: Path, another, run) -> None:
    version = environment.version_of("torch")
    before = [row["objective"] for row in rnnsweep.open_sweep("tiny", store=copied).table()]
    another("torch")
    with pytest.warns(ConfigWarning, match=r"fingerprint 1.*torch .* -> 99\.0"):
        resume(copied, "budget.trials=4", accept_changes=True)
    rows = rnnsweep.open_sweep("tiny", store=copied).table()
    assert [row["fingerprints"] for row in rows] == [None, None, None, "1"]  # what had ended is as it was
    assert [row["objective"] for row in rows][:3] == before
    assert longer(copied) == ["0+1", "0+1", "0+1", "1"]  # accepted once: no change since
    assert history(record(copied)) == [f"1: torch {version} -> 99.0"]
    shown = run("table", "tiny", "--store", copied).stdout.splitlines()
    assert [line.split()[-1] for line in shown[:5]] == ["fingerprints", "0+1", "0+1", "0+1", "1"]
    trial = run("show", "tiny", "0", "--store", copied).stdout
    assert "  fingerprints: 0+1" in trial
    assert "trained under changed code or data up to update 30: fingerprints 0, 1" in trial
    page = rnnsweep.open_sweep("tiny", store=copied).report().read_text()
    assert "Trained under more than one code or data: #0, #1, #2." in page
    assert f"1: torch {version} -&gt; 99.0" in page
    assert rnnsweep.open_sweep("tiny", store=copied).trials()["fingerprints"].tolist() == ["0+1", "0+1", "0+1", "1"]


def test_going_back_is_a_change_too_and_has_its_old_number(copied: Path, another, monkeypatch) -> None:
    another("torch")
    with pytest.warns(ConfigWarning, match="fingerprint 1"):
        resume(copied, "budget.trials=4", accept_changes=True)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"torch 99\.0 -> "):
        resume(copied, "budget.trials=5")
    with pytest.warns(ConfigWarning, match="fingerprint 0"):
        resume(copied, "budget.trials=5", accept_changes=True)
    assert [session["fingerprint"] for session in record(copied)["sessions"]] == [0, 1, 0]
    assert len(record(copied)["fingerprints"]) == 2


def test_versions_that_only_prepare_or_propose_are_warned_about(copied: Path, another) -> None:
    another("numpy")
    with pytest.warns(ConfigWarning, match=r"numpy .* -> 99\.0"):
        assert longer(copied) == [None, None, None]


def test_a_ledger_of_before_goes_on_and_says_that_it_does_not_know(copied: Path) -> None:
    with closing(sqlite3.connect(copied / "ledger.db")) as connection:
        [[text]] = connection.execute("SELECT data FROM ledger_sweeps").fetchall()
        data = json.loads(text)
        del data["config"][KEY]
        connection.execute("UPDATE ledger_sweeps SET data = ?", (json.dumps(data),))
        connection.commit()
    with pytest.warns(ConfigWarning, match="was trained with so far is not known"):
        assert longer(copied) == ["0+1", "0+1", "0+1"]
    assert history(record(copied)) == [f"0: {UNKNOWN}"]


KILLED = f"""
import os, rnnsweep
from rnnsweep.sweep.driver import Driver
Driver.run = lambda driver: os.kill(os.getpid(), {signal.SIGKILL:d})
rnnsweep.launch("search", ["name=killed", "budget.trials=2", *{TINY!r}], store=STORE, progress=False)
"""


def test_a_sweep_killed_before_its_first_rung_has_no_mixed_trials(tmp_path: Path, another) -> None:
    code = f"STORE = {str(tmp_path)!r}\n{KILLED}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert [session["fingerprint"] for session in record(tmp_path, "killed")["sessions"]] == [0]
    another("torch")
    with pytest.raises(ConfigError, match="torch"):
        resume(tmp_path, name="killed")
    with pytest.warns(ConfigWarning, match="fingerprint 1"):
        rows = resume(tmp_path, name="killed", accept_changes=True).table()
    assert [row["fingerprints"] for row in rows] == ["1", "1"]
