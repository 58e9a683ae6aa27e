"""The lock that dies with its holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.database import Database, parse
from rnnsweep.adapters.ledger.guard import AdvisoryGuard, FileGuard, guard_for
from rnnsweep.errors import StoreError

HOLD = """
import sys
from pathlib import Path
from rnnsweep.adapters.ledger.guard import FileGuard
guard = FileGuard(Path(sys.argv[1]))
print(guard.take(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db.lock-1"


def test_one_holder_at_a_time_and_taking_twice_is_taking_once(path: Path) -> None:
    one, other = FileGuard(path), FileGuard(path)
    assert one.take()
    assert one.take()
    assert not other.take()
    other.drop()  # harmless where it is not ours
    assert not other.take()
    one.drop()
    assert other.take()
    other.drop()
    assert path.is_file()  # removing it would race


def test_the_death_of_the_holder_frees_it(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    guard = FileGuard(path)
    assert not guard.take()
    child.kill()
    child.communicate()
    assert guard.take()
    guard.drop()


@pytest.mark.parametrize("kind", ["directory", "dangling link", "loop"])
def test_what_is_no_lock_file_is_named(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "loop" else path.parent / "nowhere" / "file")
    with pytest.raises(StoreError, match=r"the lock file .*ledger\.db\.lock-1 cannot be opened: "):
        FileGuard(path).take()


def test_each_sweep_has_a_file_of_its_own_beside_the_database(tmp_path: Path) -> None:
    database = Database(parse(f"sqlite:///{tmp_path / 'ledger.db'}"))
    one, two = guard_for(database, 1), guard_for(database, 2)
    assert one.take()
    assert two.take()
    one.drop()
    two.drop()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.db.lock-1", "ledger.db.lock-2"]
    assert one.decisive


def test_a_server_that_is_away_gives_no_guard() -> None:
    guard = guard_for(Database(parse("postgresql://127.0.0.1:9/none")), 1)
    assert isinstance(guard, AdvisoryGuard)
    assert not guard.decisive
    assert not guard.take()
    guard.drop()


@pytest.mark.postgres
def test_an_advisory_lock_has_one_holder(postgres_url: str) -> None:
    one, other = (guard_for(Database(parse(postgres_url)), 7) for _ in range(2))
    assert one.take()
    assert one.take()
    assert not other.take()
    one.drop()
    assert other.take()
    other.drop()
