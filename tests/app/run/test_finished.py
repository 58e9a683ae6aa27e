"""`resume` of a sweep with nothing to do: said at once, and nothing is started, imported for it or written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from rnnsweep.app.run import launch as runs
from rnnsweep.app.run.finished import nothing_to_do
from rnnsweep.app.stores import place
from rnnsweep.sweep.rebuild import Reopen

RESUME = """
import sys
sys.argv = ["rnnsweep", "resume", {name!r}, "--store", {store!r}]
from rnnsweep.app.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
print([name for name in ("torch", "ray", "mlflow", "pandas", "matplotlib", "numba") if name in sys.modules])
"""


def contents(root: Path) -> dict[str, bytes]:
    """All files but SQLite's own notes of who reads, which every reader makes."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))}


def resumed(name: str, root: Path) -> list[str]:
    """Lines of a resume that must find nothing to do."""
    before = contents(root)
    code = RESUME.format(name=name, store=str(root))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert contents(root) == before
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_resume_without_anything_to_do_says_so_and_writes_nothing(tiny, tmp_path):
    root = tmp_path / "copied"
    shutil.copytree(tiny[0], root)
    lines = resumed("tiny", root)
    assert lines[-1] == "[]"
    assert "Sweep 'tiny' is COMPLETE: 3 trials, 0 failed" in lines[1]
    assert lines[2] == "Nothing was to do: all 3 trials finished."
    assert f"more      rnnsweep resume tiny --store {root} budget.trials=N" in lines
    assert f"longer    rnnsweep resume tiny --store {root} --extend budget.updates=N" in lines


def test_a_larger_budget_a_wish_or_a_killed_writers_file_is_something_to_do(tiny, tmp_path):
    root = tmp_path / "copied"
    shutil.copytree(tiny[0], root)
    config = runs.stored_config(place(root), "tiny")
    outcome = nothing_to_do(config, Reopen())
    assert outcome is not None
    assert (outcome.exit_code, outcome.idle) == (0, True)
    assert nothing_to_do(runs.stored_config(place(root), "tiny", ["budget.trials=4"]), Reopen()) is None
    # it changes nothing by itself, but it is to be kept for a later --extend
    assert nothing_to_do(runs.stored_config(place(root), "tiny", ["budget.updates=40"]), Reopen()) is None
    left = root / "reports" / "tiny" / ".overview.png.7"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    assert nothing_to_do(config, Reopen()) is None
    left.unlink()
    assert nothing_to_do(config, Reopen()) is not None
