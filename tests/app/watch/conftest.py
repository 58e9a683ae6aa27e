"""Sweeps to watch, of any size, in a real ledger; a driver's part is played by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.app.config.load import load, to_json
from rnnsweep.app.results.sweep import Sweep, open_sweep
from rnnsweep.sweep.ports import PutRung, PutSweep, PutTrial, SweepView, TrialView, Write
from rnnsweep.sweep.states import SweepState, TrialState

STATES = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED)


class Driven:
    """A sweep whose driver the test is."""

    def __init__(self, root: Path, name: str = "watched", url: str = "") -> None:
        config = to_json(load("search", [f"name={name}"], store=root, check_units=False))
        self.name, self.store = name, url or root
        self.ledger: SqlLedger = open_ledger(url or f"sqlite:///{root / 'ledger.db'}")
        self.view = SweepView(name, SweepState.RUNNING, config, created=99.0, updated=99.0, wall_s=10.0, updates=1000)
        self.ledger.create(self.view)
        self.fence = self.ledger.acquire(name, "test", 1.0)

    def write(self, *writes: Write) -> None:
        self.ledger.commit(self.name, self.fence, writes)

    def fill(self, trials: int, rungs: int = 4) -> None:
        """Trials of all states; number n has the objective 1 / (1 + n + rung)."""
        writes: list[Write] = [PutSweep(self.view)]
        for number in range(trials):
            params = {"init.sigma": 0.1 + number / 7, "controllers.clip.threshold": 1.0 + number}
            state = STATES[number % 4]
            reached = 0 if state is TrialState.WAITING else rungs
            values = tuple(1.0 / (1 + number + rung) for rung in range(1, reached + 1))
            for rung, value in enumerate(values, 1):
                metrics = {"valid/error": value, "train/loss": 2 * value}
                writes.append(PutRung(number, rung, 100 * rung, metrics, (value,)))
            view = TrialView(number, TrialState.WAITING, params)
            writes.append(PutTrial(view))
            if state is not TrialState.WAITING:
                more = {"attempts": 1, "started": 100.0, "history": ("attempt 1 from update 0 on node",)}
                ended = {"values": values[-1:], "step": 100 * rungs, "rung": rungs} if state.finished else {}
                writes.append(PutTrial(TrialView(number, state, params, **{**more, **ended})))
        self.write(*writes)

    def taken(self) -> list:
        return self.ledger.take_requests(self.name, self.fence)

    def sweep(self) -> Sweep:
        return open_sweep(self.name, store=self.store)


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Callable[[int], Driven]]:
    made: list[Driven] = []

    def make(trials: int) -> Driven:
        made.append(Driven(tmp_path / "store"))
        made[-1].fill(trials)
        return made[-1]

    yield make
    for one in made:
        one.ledger.release(one.name, one.fence)
        one.ledger.close()
