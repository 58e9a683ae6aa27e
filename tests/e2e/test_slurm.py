"""The Slurm script, run as Slurm runs it, with stand-ins for `srun`, `scontrol` and Ray: a limit, a preemption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnnsweep
from rnnsweep.errors import RnnsweepError
from tests.kit.tiny import TRAINING

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
STUBS = {
    "scontrol": """
        case $1 in
        show) echo node1 ;;
        requeue) echo "$2" >> "$SLURM_SUBMIT_DIR/requeued" ;;
        esac""",
    "srun": """
        while [[ $1 == --* ]]; do shift; done
        exec "$@" """,
    "hostname": "echo 127.0.0.1",
    "ray": """
        test "$RAY_AUTH_MODE" = token && test -s "$RAY_AUTH_TOKEN_PATH" || exit 9
        while [[ $1 != -- ]]; do shift; done
        shift
        exec "$@" """,
    "rnnsweep": f'exec {sys.executable} -m rnnsweep.app.cli "$@"',
    "python": f'exec {sys.executable} "$@"',
}
LONG = ("cluster=inline", "tracker=none", "store.optuna=none", "sampler=random", *TRAINING, "budget.updates=400")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory to submit from; `bin` has what the script calls."""
    (tmp_path / "bin").mkdir()
    for name, text in STUBS.items():
        file = tmp_path / "bin" / name
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
    return tmp_path


class Job:
    """The batch script of one run."""

    def __init__(self, site: Path, *words: str, **environment: str) -> None:
        slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_JOB_NUM_NODES": "1"}
        path = {"PATH": f"{site / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SLURM_SUBMIT_DIR": str(site)}
        self.log = site / "log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                ["bash", str(ROOT / "deploy/slurm.sh"), *words],
                cwd=site,
                env={**os.environ, **slurm, **path, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until_training(self, site: Path, rungs: int) -> None:
        """Wait until so many rungs are in the ledger."""
        end = time.monotonic() + 400
        while True:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            if (site / "mlruns/ledger.db").exists() and rungs_of(site) >= rungs:
                return
            time.sleep(0.2)

    def ends(self) -> int:
        return self.process.wait(timeout=400)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    made: list[Job] = []
    yield made
    for job in made:
        job.kill()


def rungs_of(site: Path) -> int:
    try:
        sweep = rnnsweep.open_sweep("search", store=site / "mlruns")
    except RnnsweepError:
        return 0
    return sum(entry["step"] // 10 for entry in sweep.table())


def comparable(store: Path) -> list[dict]:
    kept = ("trial", "state", "objective", "params", "step", "solved_at")
    return [{key: entry[key] for key in kept} for entry in rnnsweep.open_sweep("search", store=store).table()]


def requeued(site: Path) -> list[str]:
    file = site / "requeued"
    return file.read_text().split() if file.exists() else []


def test_before_the_limit_the_job_puts_itself_back_and_goes_on(site: Path, jobs: list[Job], tmp_path: Path) -> None:
    words = ("launch", "search", *LONG, "budget.trials=4")
    jobs.append(Job(site, *words))
    jobs[-1].until_training(site, 3)
    jobs[-1].process.send_signal(signal.SIGUSR1)
    assert jobs[-1].ends() == 0, jobs[-1].log.read_text()
    assert requeued(site) == ["7"]
    assert rnnsweep.open_sweep("search", store=site / "mlruns").state == "STOPPED"
    assert not list(site.glob(".ray-token*"))  # the token is gone with its job
    jobs.append(Job(site, *words, SLURM_RESTART_COUNT="1"))  # the same command: Slurm runs the same script again
    assert jobs[-1].ends() == 0, jobs[-1].log.read_text()
    assert "Going on with the sweep 'search' as it was launched." in jobs[-1].log.read_text()
    assert requeued(site) == ["7"]
    alone = tmp_path / "alone"
    rnnsweep.launch("search", [*LONG, "budget.trials=4"], store=alone, progress=False)
    assert comparable(site / "mlruns") == comparable(alone)


def test_a_preemption_or_scancel_stops_in_order_and_leaves_the_line_to_slurm(site: Path, jobs: list[Job]) -> None:
    jobs.append(Job(site, "launch", "search", *LONG, "budget.trials=40"))
    jobs[-1].until_training(site, 2)
    jobs[-1].process.send_signal(signal.SIGTERM)
    assert jobs[-1].ends() == 3, jobs[-1].log.read_text()
    assert requeued(site) == []
    status = rnnsweep.open_sweep("search", store=site / "mlruns").status()
    assert (status["state"], status["trials"]["running"]) == ("STOPPED", 0)


def test_a_job_that_has_been_put_back_often_enough_stays_out(site: Path, jobs: list[Job]) -> None:
    many = {"SLURM_RESTART_COUNT": "2", "REQUEUES": "2"}
    jobs.append(Job(site, "launch", "search", *LONG, "budget.trials=40", **many))
    jobs[-1].until_training(site, 2)
    jobs[-1].process.send_signal(signal.SIGUSR1)
    assert jobs[-1].ends() == 3, jobs[-1].log.read_text()
    assert requeued(site) == []
    assert "not put back in line (REQUEUES)" in jobs[-1].log.read_text()


def test_a_mistake_is_said_and_not_repeated(site: Path, jobs: list[Job]) -> None:
    jobs.append(Job(site, "launch", "serach"))
    assert jobs[-1].ends() == 2
    assert requeued(site) == []
    assert "serach" in jobs[-1].log.read_text()
