"""What asks a command to end: Ctrl-C before a driver has begun, SIGTERM, a terminal that is closed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

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
