"""Where a store is, and what is said about one whose ledger is gone."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app import doctor
from rnnsweep.app.config.load import load
from rnnsweep.app.run.launch import launch, resume
from rnnsweep.app.stores import kept_open, place, reading, reading_sweep
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.rebuild import Reopen

TINY = (
    "cluster=inline", "tracker=none", "store.optuna=none", "budget.trials=1", "budget.updates=4", "space={}",
    "training.report_every=2", "training.batch=2", "training.eval_size=4", "task.length=10", "family.hidden=4",
)  # fmt: skip


@pytest.mark.parametrize("name", ["we?ird", "100%41", "a#b"])
def test_a_store_that_a_library_would_misread_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="reads paths as URLs") as error:
        load("quickstart", ["name=s", *TINY], store=tmp_path / name)
    assert (error.value.key, error.value.value) == ("store.root", str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one small finished sweep, `s`."""
    assert launch(load("quickstart", ["name=s", *TINY], store=tmp_path)).exit_code == 0
    return tmp_path


def test_a_lost_ledger_is_told_from_a_store_without_sweeps(store: Path) -> None:
    known = {path: path.read_bytes() for path in (store / "checkpoints").rglob("*") if path.is_file()}
    for damage in (Path.unlink, lambda path: path.write_bytes(b"")):
        damage(store / "ledger.db")
        for word in ("s", "other"):
            looking = reading_sweep(place(store), word)
            with pytest.raises(ConfigError, match=r"Checkpoints of s are in .*checkpoints, but the ledger") as error:
                looking.__enter__()
            assert error.value.exit_code == 2
        before = (store / "ledger.db").is_file(), sorted(store.iterdir())
        with pytest.raises(ConfigError, match="take name=NEW, or move them away"):
            launch(load("quickstart", ["name=s", *TINY], store=store))
        assert ((store / "ledger.db").is_file(), sorted(store.iterdir())) == before  # no new ledger either
        (finding,) = (one for one in doctor.databases(place(store)) if not one.ok)
        assert finding.check == "ledger" and "checkpoints of s are in the store" in finding.detail
    assert {path: path.read_bytes() for path in known} == known
    assert (store / "checkpoints" / "s" / "sweep.json").is_file()


def test_resume_removes_what_killed_writers_left(store: Path) -> None:
    row = next((store / "checkpoints" / "s").rglob("rung-*.json"))
    reports = store / "reports" / "s"
    reports.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^A-Za-z0-9_]+", "_", socket.gethostname())
    left = [
        row.with_name(f"{row.name}.tmp-7"),
        row.with_name("rung-000099.safetensors"),
        reports / f".a.png.{host}-999999999.draft",
    ]
    for path in left:
        path.write_bytes(b"torn")
    (reports / "a.png").write_bytes(b"whole")
    assert resume(load("quickstart", ["name=s", *TINY], store=store)).exit_code == 0
    assert [path for path in left if path.exists()] == []
    assert row.exists()
    assert (reports / "a.png").exists()


def test_a_lock_file_that_is_a_directory_is_one_line(store: Path) -> None:
    lock = store / "ledger.db.lock-1"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(StoreError, match=r"lock file .*ledger\.db\.lock-1 cannot be opened: Is a directory"):
        resume(load("quickstart", ["name=s", *TINY, "budget.trials=5"], store=store), Reopen(failed=True))


def test_a_place_for_checkpoints_that_cannot_be_written_is_found_before_the_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = load("quickstart", ["name=s", *TINY, f"store.checkpoints={tmp_path / 'file'}"], store=tmp_path)
    with pytest.raises(StoreError, match=r"checkpoints: .*Not a directory|File exists"):
        launch(config)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert ledger.sweeps() == []
    ledger.close()


def test_a_ledger_that_is_kept_open_is_the_one_that_all_read(tmp_path):
    store = place(tmp_path / "store")
    with kept_open(store) as ledger:
        with reading(store) as one, reading(store) as other:
            assert one is other is ledger
        assert ledger.sweeps() == []  # still open
    with reading(store) as after:
        assert after is not None and after is not ledger
