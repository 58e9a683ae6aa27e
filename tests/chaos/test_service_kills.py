"""kill -9 of the service and of its workers under several sweeps: started again, every table is what it is alone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import rnnsweep
from rnnsweep.app.stores import place
from rnnsweep.service.desk import Desk
from rnnsweep.service.front import QueueState, Submission
from tests.chaos.nodes import title
from tests.chaos.sweeps import COMMAND, SMALL, Record, Store, check_same, record, record_of

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

PLAIN = tuple(option for option in SMALL if option not in ("+controllers=witness", "cluster.rows=6"))
SWEEPS = {
    "a": ("seed=1", "budget.trials=4", "budget.updates=300"),
    "b": ("seed=2", "budget.trials=6", "budget.updates=200", "replicas=1"),
    "c": ("seed=3", "budget.trials=3", "budget.updates=400", "training.report_every=15"),
}
OPTIONS = (*PLAIN, "sampler=random", "tracker=none", "store.optuna=none")


class Serving:
    """`rnnsweep serve` in a process of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root, self.options = root, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
        with open(self.root / "service.txt", "ab") as out:
            command = [*COMMAND, "serve", "--store", str(self.root), "--rows", "12", *self.options]
            self.process = subprocess.Popen(command, env=variables, stdout=out, stderr=out, start_new_session=True)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def workers(self) -> list[psutil.Process]:
        assert self.process is not None
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in found if title(one).startswith("ray::Worker")]

    def output(self) -> str:
        return (self.root / "service.txt").read_text(errors="replace")[-4000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for name, more in SWEEPS.items():
        store = Store(tmp_path_factory.mktemp("alone"), (), name)
        options = [f"name={name}", *OPTIONS, *more, "cluster=inline"]
        assert rnnsweep.launch("search", options, store=store.root, progress=False).state == "COMPLETE"
        found[name] = record(store)
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(place(tmp_path))
    for name, more in SWEEPS.items():
        made.submit(Submission("search", (f"name={name}", *OPTIONS, *more)))
    yield made
    made.close()


def rungs(desk: Desk) -> int:
    return sum(len(desk.ledger.reports(name)) for name in SWEEPS)


def await_rungs(desk: Desk, service: Serving, more: int) -> None:
    goal, end = rungs(desk) + more, time.monotonic() + 400
    while rungs(desk) < goal and not over(desk):
        assert time.monotonic() < end, service.output()
        time.sleep(0.1)


def over(desk: Desk) -> bool:
    return all(one.state is QueueState.ENDED for one in desk.queue())


def check(desk: Desk, service: Serving, alone: dict[str, Record]) -> None:
    end = time.monotonic() + 400
    while not over(desk):
        assert time.monotonic() < end, service.output()
        time.sleep(0.2)
    for name in SWEEPS:
        check_same(record_of(desk.ledger, name), alone[name])
    assert {one.reason.partition(":")[0] for one in desk.queue()} == {"COMPLETE"}


def test_a_service_that_is_killed_again_and_again(desk: Desk, tmp_path: Path, alone: dict[str, Record]) -> None:
    service = Serving(tmp_path, "--executor", "inline")
    try:
        for _ in range(4):
            service.start()
            await_rungs(desk, service, 25)
            service.kill()
        service.start()
        check(desk, service, alone)
    finally:
        service.kill()


def test_workers_and_the_service_killed_on_ray(desk: Desk, tmp_path: Path, alone: dict[str, Record]) -> None:
    service = Serving(tmp_path, "--executor", "ray", "--workers", "2")
    try:
        service.start()
        for kill in ("worker", "worker", "service", "worker"):
            await_rungs(desk, service, 20)
            found = service.workers()
            if kill == "service":
                service.kill()
                service.start()
            elif found:
                found[0].kill()
        check(desk, service, alone)
        assert service.process is not None
        began = time.monotonic()
        service.process.terminate()
        assert service.process.wait(180) == 0
        assert time.monotonic() - began < 30  # seconds, where cores are free
    finally:
        service.kill()
