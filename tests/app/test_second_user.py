"""What another user of this machine may do to a store, and what we do in a store of another user.

The commands run as `nobody` (`kit.second_user`), in a folder that everybody can reach.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from tests.app.conftest import fill
from tests.app.test_unwritable_stores import closed
from tests.kit.second_user import NAME, as_nobody
from tests.kit.tiny import TINY

pytestmark = pytest.mark.slow
CHECKOUT = str(Path(__file__).parents[2])


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody reaches, pytest's own being private, with a filled store that is ours."""
    as_nobody()  # skips where one cannot become another user
    folder = Path(tempfile.mkdtemp(prefix="rnnsweep-shared-"))
    folder.chmod(0o755)
    fill(folder / "store")
    yield folder
    shutil.rmtree(folder)


def nobody(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command of another user, whose home and temporary files are in a folder of its own."""
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    shutil.chown(home, NAME)
    command = [*as_nobody(), sys.executable, "-m", "rnnsweep.app.cli.main", *words]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": CHECKOUT}
    environment |= {"OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(home), "MPLCONFIGDIR": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, env=environment, timeout=240)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def give(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, pwd.getpwnam(NAME).pw_uid, pwd.getpwnam(NAME).pw_gid)


def test_a_store_that_is_closed_to_it_can_be_read_and_nothing_more(shared):
    store = closed(shared / "store")
    before = sorted(path.name for path in store.rglob("*"))
    table = nobody("table", "quickstart", "--store", str(store), cwd=shared)
    assert table.returncode == 0 and "diverged at 320" in table.stdout, table.stderr
    resumed = nobody("resume", "quickstart", "--store", str(store), cwd=shared)
    assert resumed.returncode == 1 and "attempt to write a readonly database" in resumed.stderr
    assert sorted(path.name for path in store.rglob("*")) == before


def test_a_ledger_is_its_owners_alone(shared):
    done = nobody("table", "quickstart", "--store", str(shared / "store"), cwd=shared)
    assert done.returncode == 1 and "unable to open database file" in done.stderr


def test_a_lock_file_of_another_user_is_named(shared):
    store = shared / "store"
    give(store)
    lock = next(store.glob("ledger.db.lock-*"))
    os.chown(lock, 0, 0)
    lock.chmod(0o600)
    done = nobody("resume", "quickstart", "--store", str(store), cwd=shared)
    assert done.returncode == 1
    assert f"lock file {lock} cannot be opened" in done.stderr


def test_reports_and_checkpoints_that_cannot_be_written_are_refused_first(shared):
    store = shared / "store"
    give(store)
    (store / "reports").mkdir(mode=0o755)
    report = nobody("report", "quickstart", "--store", str(store), cwd=shared)
    assert report.returncode == 2 and "--out" in report.stderr
    (shared / "theirs").mkdir(mode=0o755)
    place = f"store.checkpoints={shared / 'theirs'}"
    launched = nobody("launch", "search", "name=new", place, *TINY, "--store", str(store), cwd=shared)
    assert launched.returncode in (1, 2) and str(shared / "theirs") in launched.stderr
    listed = nobody("status", "new", "--store", str(store), cwd=shared)
    assert "no such sweep" in listed.stderr  # the name is free


def test_code_that_a_ledger_of_another_user_names_is_not_imported(shared):
    """The attack: a store under a name that root will resume, with a unit that leaves a mark where it is imported."""
    units, mark = shared / "units", shared / "mark"
    units.mkdir()
    (units / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    store = shared / "store"
    rename_unit(store, "evil.Clip", units)
    give(store)
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    for words in (("resume", "quickstart"), ("doctor", "--repair", "--no-ray")):
        command = [sys.executable, "-m", "rnnsweep.app.cli.main", *words, "--store", str(store)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
        assert not mark.exists(), words
        if words[0] == "resume":  # at once, with all that it would import
            assert done.returncode == 2 and "evil.Clip" in done.stderr and str(units) in done.stderr
            assert "belongs to user" in done.stderr and "--trust-code" in done.stderr
    trusting = [sys.executable, "-m", "rnnsweep.app.cli.main", "resume", "quickstart", "--trust-code"]
    done = subprocess.run([*trusting, "--store", str(store)], capture_output=True, text=True, env=environment)
    assert mark.exists(), done.stderr


def rename_unit(store: Path, target: str, folder: Path) -> None:
    """Let the stored config name another class for clipping, to be found in a folder."""
    import json

    import sqlalchemy as sa

    engine = sa.create_engine(f"sqlite:///{store / 'ledger.db'}")
    with engine.begin() as connection:
        data = json.loads(connection.execute(sa.text("SELECT data FROM ledger_sweeps")).scalar_one())
        data["config"]["py_paths"] = [str(folder)]
        for variant in data["config"]["variants"]:
            variant["resolved"]["controllers"]["clip"]["_target_"] = target
        connection.execute(sa.text("UPDATE ledger_sweeps SET data = :data"), {"data": json.dumps(data)})
    engine.dispose()


@pytest.mark.parametrize("umask", [0, 0o022])
def test_files_that_hold_secrets_or_let_somebody_in_are_the_owners_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
        fill(tmp_path, "one")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        ledger.close()
    finally:
        os.umask(before)
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}, modes
