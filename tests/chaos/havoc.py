"""Random kills, drawn from a seed, on a sweep that runs on a real cluster, until it has ended all the same."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos.nodes import Nodes
from tests.chaos.sweeps import Store, kill

WEIGHTS = {"worker": 74, "raylet": 10, "driver": 8, "head": 1, "stopped worker": 4, "truncated checkpoint": 3}
DEADLINE_S = 12.0
Tell = Callable[[str], None]


@dataclass
class Havoc:
    """Kills something each time the sweep has got on a little.

    Attributes:
        most: kills; after these the sweep is left alone.
        done: kills by kind.
        resumed: seconds from each resume's start to the first rung begun.
    """

    store: Store
    nodes: Nodes
    seed: int
    most: int
    tell: Tell = print
    weights: dict[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    rungs: int = 6
    until: float = float("inf")
    done: Counter[str] = field(default_factory=Counter)
    resumed: list[float] = field(default_factory=list)

    def run(self) -> int:
        """From launch to the end; the last exit code."""
        self.random = random.Random(self.seed)
        self.driver = self.store.launch(f"cluster.address={self.nodes.address}", f"cluster.deadline_s={DEADLINE_S}")
        try:
            return self._run()
        finally:
            kill(self.driver)

    def _run(self) -> int:
        while True:
            going = self._await(self.random.randint(1, self.rungs))
            code = self.driver.poll()
            if code in (0, 1):
                return code
            if code is not None:  # its raylet or the cluster was killed under it
                self.tell(f"  the driver ended with {code}")
                self._resume()
            elif not going:
                raise AssertionError(f"no progress\n{self.store.output()}")
            elif sum(self.done.values()) < self.most and time.time() < self.until:
                time.sleep(self.random.uniform(0.0, 0.5))
                self._strike(self.random.choices(list(self.weights), list(self.weights.values()))[0])

    def _await(self, rungs: int) -> bool:
        for _ in range(3):
            if self.store.await_rungs(rungs, self.driver, 60.0):
                return True
            if self.driver.poll() is not None:
                return False
            self.nodes.tend()
        return False

    def _resume(self) -> None:
        began = time.monotonic()
        self.driver = self.store.resume()
        if self._await(1):
            self.resumed.append(time.monotonic() - began)

    def _strike(self, what: str) -> None:
        strike = {
            "worker": self._worker,
            "raylet": lambda: self.nodes.kill_raylet(self.random.randrange(8)),
            "driver": self._driver,
            "head": self._head,
            "stopped worker": self._stopped_worker,
            "truncated checkpoint": self._truncated,
        }[what]
        count = strike()
        if count:
            self.done[what] += count
            self.tell(f"  {sum(self.done.values())}: {what}")

    def _pick(self) -> psutil.Process | None:
        found = sorted(self.nodes.workers(), key=lambda process: process.pid)
        return self.random.choice(found) if found else None

    def _worker(self) -> int:
        """One to three at once."""
        found = sorted(self.nodes.workers(), key=lambda process: process.pid)
        chosen = self.random.sample(found, min(len(found), self.random.randint(1, 3)))
        for worker in chosen:
            worker.kill()
        return len(chosen)

    def _stopped_worker(self) -> bool:
        worker = self._pick()
        if worker is not None:
            worker.suspend()  # SIGSTOP: deaf to everything but SIGKILL
        return worker is not None

    def _driver(self) -> bool:
        kill(self.driver)
        self._resume()
        return True

    def _head(self) -> bool:
        self.nodes.kill_head()
        end_of_driver(self.driver)
        self.nodes.restart()
        self._resume()
        return True

    def _truncated(self) -> bool:
        """Cut the newest checkpoint of a row in two, and kill all workers so that somebody has to read it."""
        files = sorted(Path(self.store.root, "checkpoints").rglob("*.safetensors"))
        stems: dict[Path, Path] = {file.parent: file for file in files}
        if not stems:
            return False
        victim = self.random.choice(sorted(stems.values()))
        try:
            victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
        except FileNotFoundError:  # its row went on
            return False
        for worker in self.nodes.workers():
            worker.kill()
        return True


def end_of_driver(driver: subprocess.Popen[str], seconds: float = 15.0) -> None:
    """A driver whose cluster is gone: let it notice, else end it as a user would."""
    try:
        driver.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(driver)
