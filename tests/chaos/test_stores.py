"""Stores that are full, torn, locked or away: nothing is delayed for good, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rnnsweep.sweep.states import TrialState
from tests.chaos.conftest import TRIALS, UNMIRRORED
from tests.chaos.nodes import free_port
from tests.chaos.sweeps import Record, Store, check_same, check_whole, kill, mlflow_points, status

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
SECONDS = float(os.environ.get("RNNSWEEP_TEST_OUTAGE", "6"))
"""How long stores stay away; the long version of the tests takes 60."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "rnnsweep-test", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only the superuser can mount a file system of its own to fill")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


def test_a_full_disk_stops_the_sweep_with_nothing_lost(store: Store, undisturbed: Record, small_disk: Path) -> None:
    """Full for good: each worker waits and gives up, the third one ends the sweep; room again: resume."""
    store.environment.update(RNNSWEEP_REST="0.1", RNNSWEEP_PATIENCE="3")
    process = store.launch("cluster=inline", *UNMIRRORED, f"store.checkpoints={small_disk}")
    assert store.await_rungs(20, process), store.output()
    ballast = fill(small_disk)
    assert store.finish(process) == 1
    assert "No space left" in store.output()
    ledger = store.ledger()
    assert TrialState.FAILED not in {view.state for view in ledger.trials("s")}
    assert all(view.charged == 0 for view in ledger.trials("s"))
    ledger.close()
    ballast.unlink()
    assert store.finish(store.resume()) == 0, store.output()
    check_same(check_whole(store, TRIALS), undisturbed)


def test_a_full_disk_that_empties_is_only_a_pause(store: Store, undisturbed: Record, small_disk: Path) -> None:
    store.environment["RNNSWEEP_REST"] = "0.1"
    process = store.launch("cluster=inline", *UNMIRRORED, f"store.checkpoints={small_disk}")
    assert store.await_rungs(20, process), store.output()
    ballast = fill(small_disk)
    time.sleep(5.0)
    ballast.unlink()
    assert store.finish(process) == 0, store.output()
    found = check_whole(store, TRIALS)
    check_same(found, undisturbed)
    assert set(found.attempts.values()) == {1}


def test_a_torn_checkpoint_falls_back_to_the_one_before(store: Store, undisturbed: Record) -> None:
    process = store.launch("cluster=inline")
    assert store.await_rungs(60, process), store.output()
    kill(process)
    assert status(store)["state"] == "INTERRUPTED"  # though nobody could write that
    newest = {file.parent: file for file in sorted((store.root / "checkpoints").rglob("*.safetensors"))}
    torn = [file for file in newest.values() if int(file.stem[-6:]) > 1]
    assert torn
    for file in torn:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert store.finish(store.resume()) == 0, store.output()
    ledger = store.ledger()
    views = ledger.trials("s")
    ledger.close()
    assert [view.state for view in views] == [TrialState.COMPLETE] * TRIALS
    store.witness.unlink()  # a torn checkpoint repeats one rung more than a kill does
    check_same(check_whole(store, TRIALS), undisturbed)


def test_a_locked_database_delays_but_loses_nothing(store: Store, undisturbed: Record) -> None:
    store.environment["RNNSWEEP_REST"] = "0.05"
    process = store.launch("cluster=inline", *UNMIRRORED)
    assert store.await_rungs(20, process), store.output()
    with closing(sqlite3.connect(store.root / "ledger.db", timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(SECONDS)
        other.execute("ROLLBACK")
    assert store.finish(process) == 0, store.output()
    found = check_whole(store, TRIALS)
    check_same(found, undisturbed)
    assert set(found.attempts.values()) == {1}  # nobody took over, nothing was retried


class Server:
    """A real `mlflow server` on loopback that proxies artifacts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        stores = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1", "--serve-artifacts"]
        artifacts = ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "server.txt", "ab") as out:
            self.process = subprocess.Popen(
                [*command, *stores, *artifacts],
                env={**os.environ, **quiet},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def await_up(self, seconds: float = 120.0) -> None:
        """Until it answers: killed while it makes its tables, MLflow itself would never start again."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
            assert time.monotonic() < deadline, (self.folder / "server.txt").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    made.await_up()
    yield made
    made.stop()


def test_an_mlflow_server_that_is_down_delays_nothing_and_gets_every_point_once(
    store: Store, undisturbed: Record, server: Server
) -> None:
    store.environment["RNNSWEEP_REST"] = "0.1"
    process = store.launch("cluster=inline", f"store.mlflow={server.uri}")
    assert store.await_rungs(30, process), store.output()
    server.stop()
    assert store.await_rungs(30, process), store.output()  # training goes on
    time.sleep(SECONDS)
    server.start()
    assert store.finish(process) == 0, store.output()
    found = check_whole(store, TRIALS)
    check_same(found, undisturbed)
    points = mlflow_points(server.folder / "mlflow.db", "s")
    wanted: dict[tuple[int, str], list[tuple[int, float]]] = {}
    for (trial, _), (step, metrics, _) in sorted(found.rungs.items()):
        for key, value in metrics.items():
            wanted.setdefault((trial, key), []).append((step, value))
    assert {key: points[key] for key in wanted} == wanted
