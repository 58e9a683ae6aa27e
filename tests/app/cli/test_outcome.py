"""What launch and resume print at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rnnsweep.app.cli.outcome import show, troubles
from rnnsweep.app.stores import StorePlace
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState


def entry(trial: int, state: str, reason: str = "", diverged_at: int | None = None) -> dict:
    return {"trial": trial, "state": state, "reason": reason, "diverged_at": diverged_at}


def test_failures_are_told_by_reason_and_divergence_by_when():
    bug = "replica 0: bug: ValueError: no"
    entries = [
        entry(0, "COMPLETE"),
        entry(1, "FAILED", bug),
        entry(2, "COMPLETE", diverged_at=2),
        entry(3, "FAILED", bug),
        entry(4, "FAILED", "lost: 3 attempts"),
        entry(5, "COMPLETE", diverged_at=320),
    ]
    assert troubles(entries) == [
        f"failed    {bug}: trials 1, 3",
        "failed    lost: 3 attempts: trial 4",
        "diverged  at updates 2 to 320: trials 2, 5",
    ]


def test_long_lists_end_in_a_count():
    entries = [entry(number, "COMPLETE", diverged_at=7) for number in range(12)]
    assert troubles(entries) == ["diverged  at update 7: trials 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"]


def test_all_well_says_nothing():
    assert troubles([entry(0, "COMPLETE"), entry(1, "PRUNED", "pruned at update 40")]) == []


class Ended:
    """A sweep as far as its last words ask for it."""

    name = "s"
    place = StorePlace(Path("/store"), "sqlite:////store/ledger.db")

    def __init__(self, state: SweepState, reason: str, failed: int = 0) -> None:
        self.outcome, self.failed = Outcome(state, 0, reason), failed

    def status(self) -> dict[str, Any]:
        return {"trials": {"complete": 0, "failed": self.failed}, "wall_s": 3.0}

    def ranking(self) -> list[dict[str, Any]]:
        return []

    table = ranking

    def overview(self) -> None:
        return None


@pytest.mark.parametrize(
    ("state", "failed", "line"),
    [
        (SweepState.COMPLETE, 0, "more      rnnsweep resume s budget.trials=N"),
        (SweepState.COMPLETE, 2, "go on     rnnsweep resume s --failed"),
        (SweepState.FAILED, 3, "go on     rnnsweep resume s --failed"),  # without it, nothing would be tried again
        (SweepState.FAILED, 0, "go on     rnnsweep resume s"),  # a store was away
        (SweepState.INTERRUPTED, 2, "go on     rnnsweep resume s"),  # what is unfinished goes on anyway
    ],
)
def test_the_last_line_is_the_one_that_helps(capsys, state: SweepState, failed: int, line: str) -> None:
    show(Ended(state, "the space is used up: 6 trials of 20", failed))  # type: ignore[arg-type]
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == line
    said = printed.out if state is SweepState.COMPLETE else printed.err
    assert "the space is used up: 6 trials of 20" in said
