"""The undisturbed sweep that all others are compared with, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.sweeps import Record, Store, check_whole

TRIALS = 6
OPTIONS = ("sampler=random", f"budget.trials={TRIALS}", "budget.updates=200")
UNMIRRORED = ("tracker=none", "store.optuna=none")
"""For sweeps that are looked at in their ledger alone: half of a small sweep's time is MLflow's."""


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Record:
    store = Store(tmp_path_factory.mktemp("undisturbed"), OPTIONS)
    assert store.finish(store.launch("cluster=inline", *UNMIRRORED)) == 0, store.output()
    return check_whole(store, TRIALS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store", OPTIONS)
    yield made
    made.close()
