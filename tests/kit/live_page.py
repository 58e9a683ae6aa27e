"""Sweeps of any size written through the real ledger, a front that notes what it is asked for, and the page served."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.app.config.load import load, to_json
from rnnsweep.app.stores import StorePlace, place
from rnnsweep.service.front import PoolWorker, QueuedSweep, QueueState, Submission
from rnnsweep.service.page.router import page_router
from rnnsweep.sweep.ports import PutReports, PutRung, PutSweep, PutTrial, SweepView, TrialView, Write
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState, SweepState, TrialState

NAME, UPDATES, EVERY = "temporal-order", 6000, 600
SPACE = {
    "controllers.clip.threshold": {"kind": "float", "low": 0.3, "high": 6.0, "log": True},
    "controllers.omega.weight": {"kind": "categorical", "choices": [0.0, 0.5, 1.0, 2.0, 4.0]},
    "controllers.sampling.q_max": {"kind": "categorical", "choices": [2.0, math.inf]},
    "init.sigma": {"kind": "float", "low": 0.05, "high": 0.3, "log": True},
}
TWO = "objective=[{metric: valid/error}, {metric: weights/rho}]"
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
"""What would run where it were not escaped."""


class NotingFront:
    """A `Front` over a store: the queue is what the test says, and every call is noted."""

    def __init__(self, store_place: StorePlace, queue: Sequence[QueuedSweep] = ()) -> None:
        self.place = store_place
        self.config_dirs: Sequence[Path] = ()
        self.lines = list(queue)
        self.calls: list[tuple[Any, ...]] = []

    def queue(self) -> list[QueuedSweep]:
        return list(self.lines)

    def workers(self) -> list[PoolWorker]:
        rows = {line.name: 12 for line in self.lines if line.state is QueueState.RUNNING}
        return [PoolWorker("w0", "node-a", "cuda:0", 64, rows, 0.93), PoolWorker("w1", "node-b", "cpu", 16, {}, 0.0)]

    def submit(self, submission: Submission) -> str:
        self.calls.append(("submit", submission))
        return submission.sweep

    def stop(self, name: str, reason: str) -> None:
        self.calls.append(("stop", name, reason))

    def pause(self, name: str, reason: str) -> None:
        self.calls.append(("pause", name, reason))

    def resume(self, name: str, overrides: Sequence[str] = (), reopen: Reopen | None = None) -> None:
        self.calls.append(("resume", name, tuple(overrides), *([reopen] if reopen not in (None, Reopen()) else [])))

    def request(self, name: str, kind: str, data: Mapping[str, Any]) -> None:
        self.calls.append(("request", name, kind, data))


class WrittenSweep:
    """A made-up sweep whose driver is this process: complete, pruned, diverged and failed trials, some that run."""

    def __init__(
        self, root: Path, trials: int, name: str = NAME, overrides: Sequence[str] = (), budget: int = 0
    ) -> None:
        self.place = place(root)
        self.name = name
        self.ledger: SqlLedger = open_ledger(self.place.ledger)
        typed = [f"budget.trials={budget or trials}", f"budget.updates={UPDATES}", "pruner=none", "replicas=1"]
        config = to_json(load("quickstart", [*typed, "name=made-up", *overrides], store=root, check_units=False))
        resolved = config["variants"][0]["resolved"]
        resolved["space"] = self.space()
        self.two = isinstance(resolved["objective"], list) and len(resolved["objective"]) > 1
        self.view = SweepView(name, SweepState.RUNNING, config, created=1.7e9)
        self.ledger.create(self.view)
        self.fence = self.ledger.acquire(name, "test", 0.0)
        self.rng = np.random.default_rng(trials)
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self.commit([PutSweep(self.view)])
        for start in range(0, trials, 50):
            numbers = range(start, min(trials, start + 50))
            self.commit([write for number in numbers for write in self.whole_trial(number)])

    def _beat(self) -> None:
        while not self._ended.wait(1.0):
            self.ledger.renew(self.name, self.fence)

    def space(self) -> dict[str, Any]:
        return SPACE

    def commit(self, writes: Sequence[Write]) -> None:
        self.ledger.commit(self.name, self.fence, writes)

    def params(self) -> dict[str, Any]:
        values = {}
        for key, spec in self.space().items():
            if spec["kind"] == "categorical":
                values[key] = spec["choices"][int(self.rng.integers(len(spec["choices"])))]
            else:
                values[key] = float(math.exp(self.rng.uniform(math.log(spec["low"]), math.log(spec["high"]))))
        return values

    def fate(self, number: int) -> str:
        return {19: "FAILED", 18: "WAITING", 17: "RUNNING"}.get(
            number % 20, "PRUNED" if number % 6 == 5 else "COMPLETE"
        )

    def reason(self, number: int, state: str) -> str:
        bug = ("bug: ValueError: sigma is not positive", "lost: worker w3 died three times")[number % 40 == 39]
        return {"FAILED": bug, "PRUNED": f"pruned at update {3 * EVERY}"}.get(state, "")

    def whole_trial(self, number: int) -> list[Write]:
        state, params = self.fate(number), self.params()
        first = TrialView(number, TrialState.WAITING, params, started=1.7e9 + 10 * number)
        if state == "WAITING":
            return [PutTrial(first)]
        begun = {
            "started": first.started,
            "attempts": 1,
            "worker": "w0",
            "engine": "cpu",
            "history": ("started on w0",),
        }
        writes: list[Write] = [PutTrial(first), PutTrial(TrialView(number, TrialState.RUNNING, params, **begun))]
        last = {"FAILED": 1, "PRUNED": 3, "RUNNING": 5}.get(state, UPDATES // EVERY)
        solves = params.get("controllers.omega.weight", 1) != 0 and self.rng.uniform() < 0.8
        end = float(self.rng.uniform(0.001, 0.3 if solves else 0.7))
        value, late = 0.75, float(self.rng.uniform(0.25, 0.75))
        for rung in range(1, last + 1):
            share = rung / (UPDATES // EVERY) + float(self.rng.normal(0, 0.02))
            value = end + (0.75 - end) / (1 + math.exp(14 * (share - late)))
            writes += self.rung(number, rung, value)
        if state == "RUNNING":
            return writes
        diverged = state == "COMPLETE" and number % 31 == 30
        values = (
            ()
            if state == "FAILED"
            else (1.0 if diverged else value, 1.0 + 0.3 * late + 0.05 / (0.1 + value))[: 2 if self.two else 1]
        )
        ended = {
            "values": values,
            "step": last * EVERY,
            "rung": last,
            "solved_at": 4200 if state == "COMPLETE" and value < 0.01 else None,
            "diverged_at": 1300 if diverged else None,
            "diverged_share": 1.0 if diverged else 0.0,
            "finished": 1.7e9 + 10 * number + 60,
            "reason": self.reason(number, state),
        }
        return [*writes, PutTrial(TrialView(number, TrialState(state), params, **begun, **ended))]

    def rung(self, number: int, rung: int, value: float) -> list[Write]:
        metrics = {"valid/error": value, "valid/loss": 1.4 * value, "train/loss": 1.5 * value, "grad/norm": 1 / rung}
        metrics |= {"weights/rho": 1.0 + 0.01 * rung, "clip/share": 0.2}
        report = RowReport(
            number, 0, f"{number}-1", rung, rung * EVERY, metrics, RowState.ACTIVE, device_s=0.4, engine="cpu"
        )
        values = (value, metrics["weights/rho"])[: 2 if self.two else 1]
        return [PutReports((report,)), PutRung(number, rung, rung * EVERY, metrics, values)]

    def end(self, state: SweepState, reason: str = "") -> None:
        self.commit([PutSweep(SweepView(self.name, state, self.view.config, created=self.view.created, reason=reason))])
        self._still()
        self.ledger.release(self.name, self.fence)

    def _still(self) -> None:
        self._ended.set()
        self._heart.join()

    def close(self) -> None:
        self._still()
        self.ledger.close()


def page_app(front: Any, role: str = "operator", user: str = "ada", every: bool = True) -> FastAPI:
    """The page alone, for one user."""
    app = FastAPI()

    @app.middleware("http")
    async def known(request: Request, call_next: Any) -> Any:
        request.state.user, request.state.role, request.state.every = user, role, every
        return await call_next(request)

    app.include_router(page_router(front))
    return app


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """An application on a free port of loopback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
