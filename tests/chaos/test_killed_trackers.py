"""kill -9 of the process that writes trackers, again and again; what is read back at last has each point once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.sweep.ports import PutRung, PutSweep, PutTrial, SweepView, TrialView
from rnnsweep.sweep.states import SweepState, TrialState
from tests.kit.demo_sweep import KEYS, PARAMS, STARTED
from tests.kit.trackers import READERS

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[2]
TRIALS, RUNGS = 12, 10


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A finished sweep that nothing has mirrored yet."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    view = SweepView("demo", SweepState.RUNNING, {}, created=STARTED)
    ledger.create(view)
    fence = ledger.acquire("demo", "test", 0.0)
    ledger.commit("demo", fence, [PutSweep(view)])
    for number in range(TRIALS):
        base = TrialView(number, TrialState.RUNNING, PARAMS, started=STARTED + number)
        ledger.commit("demo", fence, [PutTrial(base)])
    for rung in range(1, RUNGS + 1):
        errors = {number: 1 / (rung + number) for number in range(TRIALS)}
        rows = [
            PutRung(n, rung, 10 * rung, {"train/loss": 2 * e, "valid/error": e, "objective": e}, (e,))
            for n, e in errors.items()
        ]
        ledger.commit("demo", fence, rows)
    for number in range(TRIALS):
        state = TrialState.FAILED if number % 5 == 4 else TrialState.COMPLETE
        done = TrialView(number, state, PARAMS, (1 / (RUNGS + number),), started=STARTED + number, step=10 * RUNGS)
        ledger.commit("demo", fence, [PutTrial(done)])
    ledger.commit("demo", fence, [PutSweep(SweepView("demo", SweepState.COMPLETE, {}, created=STARTED))])
    ledger.release("demo", fence)
    ledger.close()
    return tmp_path


def begun(store: Path, kind: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.kit.tracking_process", str(store), kind]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begins\n"
    return process


@pytest.mark.parametrize("kind", READERS)
def test_each_point_is_there_once_after_any_number_of_kills(store, kind):
    chance, killed = random.Random(kind), 0
    for turn in range(6):
        process = begun(store, kind)
        # W&B's library alone takes a second or two to load. The first has no time to end before it is killed.
        time.sleep(chance.uniform(0.0, (4.0 if kind == "wandb" else 0.7) * turn / 5))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = begun(store, kind)
    rest, _ = last.communicate(timeout=300)
    assert rest == "behind\n" and killed >= 1
    found = READERS[kind](store / kind / "demo")
    assert set(found.points.values()) == {1}
    steps = {(trial, key): 0 for trial, key, _, _ in found.points}
    for trial, key, _, _ in found.points:
        steps[trial, key] += 1
    for trial in range(TRIALS):
        for key in KEYS:
            assert steps[trial, key] == (RUNGS if key in ("train/loss", "valid/error", "objective") else 1)
    assert found.states == {n: "FAILED" if n % 5 == 4 else "COMPLETE" for n in range(TRIALS)}
