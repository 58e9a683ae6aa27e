"""What asks a command to end: Ctrl-C before a driver has begun, SIGTERM, a terminal that is closed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rnnsweep
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.sweep.states import SweepState, TrialState

ROOT = Path(__file__).parents[3]
EARLY = """
import os, signal, sys, time
from rnnsweep.app import api
from rnnsweep.app.cli import main

def launch(*args, **options):
    os.kill(os.getpid(), signal.{name})
    time.sleep(60)

api.launch = launch
sys.argv = ["rnnsweep", "launch", "quickstart"]
main.main()
"""
IMPORTING = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class CtrlC(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
sys.argv = {argv!r}
from rnnsweep.app.cli.__main__ import main
main()
"""
AS_IT_WAS = "Interrupted before the sweep went on; it is as it was: the same command goes on.\n"
SMALL = ("cluster=inline", "tracker=none", "budget.trials=2", "budget.updates=1000000", "training.report_every=5")


def states(folder: Path) -> set[TrialState]:
    """States of the trials in a store that may not be there yet."""
    file = folder / "mlruns" / "ledger.db"
    if not file.is_file():
        return set()
    with contextlib.closing(open_ledger(f"sqlite:///{file}")) as ledger:
        return {trial.state for trial in ledger.trials("s")}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_command_that_is_ended_before_its_driver_began_says_a_word(name: str) -> None:
    command = [sys.executable, "-c", EARLY.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "Interrupted. A sweep that has begun goes on with: rnnsweep resume NAME\n"


@pytest.mark.parametrize("module", ["typer", "rnnsweep.app.cli.table", "rnnsweep.app.api", "rnnsweep.app.run.launch"])
def test_a_resume_that_is_ended_early_is_resumable_and_says_so(module: str) -> None:
    """While the program itself is imported, while the command is, and in the midst of an `eval`: 3, as docs promise."""
    code = IMPORTING.format(module=module, argv=["rnnsweep", "resume", "quickstart"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", AS_IT_WAS)


def test_a_signal_within_an_eval_changes_no_exit_code() -> None:
    code = (
        "import os, signal\n"
        "from rnnsweep.app.cli.interruption import farewell\n"
        "try:\n    eval('os.kill(os.getpid(), signal.SIGINT) or [0 for _ in range(9)]')\n"
        "except KeyboardInterrupt as error:\n    raise SystemExit(farewell('resume', error)[1])"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, cwd=ROOT).returncode == 3


def test_ctrl_c_twice_is_quick_and_leaves_no_trial_that_seems_to_run(tmp_path: Path) -> None:
    """What a driver leaves behind that had no time to write: neither status nor table say that a dead trial runs."""
    words = ["-m", "rnnsweep.app.cli", "launch", "quickstart", "name=s", *SMALL, "--store", str(tmp_path / "mlruns")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, *words], cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while TrialState.RUNNING not in states(tmp_path):
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        while b"Ctrl-C again" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, shown = process.communicate(timeout=60)
        took = time.monotonic() - began
    assert process.returncode == 3
    assert b"Go on with: rnnsweep resume s" in shown
    assert took < 15.0  # it drew a picture and waited for mirrors before
    sweep = rnnsweep.open_sweep("s", store=tmp_path / "mlruns")
    assert sweep.status()["trials"]["running"] == 0
    assert {row["state"] for row in sweep.table()} <= {"WAITING", "COMPLETE"}


def test_a_closed_terminal_ends_a_sweep_as_ctrl_c_does(tmp_path: Path) -> None:
    words = ["-m", "rnnsweep.app.cli.main", "launch", "quickstart", "name=s", *SMALL]
    child, terminal = pty.fork()
    if not child:
        os.chdir(tmp_path)
        os.environ.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", TERM="xterm")
        os.execv(sys.executable, [sys.executable, *words])
    while TrialState.RUNNING not in states(tmp_path):
        while select.select([terminal], [], [], 0.2)[0]:
            os.read(terminal, 4096)  # a terminal that nobody reads would block the process
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert states(tmp_path) == {TrialState.WAITING}
    with contextlib.closing(open_ledger(f"sqlite:///{tmp_path / 'mlruns' / 'ledger.db'}")) as ledger:
        view = ledger.sweep("s")
        assert view is not None
        assert view.state is SweepState.INTERRUPTED
