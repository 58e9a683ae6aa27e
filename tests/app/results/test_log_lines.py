"""The journal in words: every event once, and no noise."""

from __future__ import annotations

from typing import Any

from rnnsweep.app.results.log_lines import LogLines
from rnnsweep.sweep.ports import Change


def change(seq: int, kind: str, trial: int | None = None, **data: Any) -> Change:
    return Change(seq, kind, trial, float(seq), data)


def lines(*changes: Change) -> list[str]:
    log = LogLines()
    return [line for change in changes for line in log.of(change)]


def test_a_sweeps_notes_of_time_spent_are_no_news():
    running = [change(seq, "sweep", state="RUNNING", reason="", wall_s=seq) for seq in range(3)]
    assert lines(*running, change(3, "sweep", state="COMPLETE", reason="all 4 trials finished")) == [
        "sweep: RUNNING",
        "sweep: COMPLETE all 4 trials finished",
    ]


def test_a_trial_tells_its_history_once_and_its_result():
    first, end = "attempt 1 from update 0 on here", "COMPLETE at update 40"
    story = (
        change(1, "trial", 3, state="WAITING", history=()),
        change(2, "trial", 3, state="RUNNING", history=(first,)),
        change(3, "rung", 3, step=20, values=(0.30000000000000004,)),
        change(4, "trial", 3, state="RUNNING", history=(first,)),
        change(5, "trial", 3, state="COMPLETE", history=(first, end), values=(0.25,), reason=""),
    )
    assert lines(*story) == [
        f"trial 3: {first}",
        "trial 3: update 20: 0.3",
        f"trial 3: {end}, objective 0.25",
    ]


def test_lines_of_a_history_that_drops_old_ones_come_once():
    """The ledger keeps 30 lines: the first, and the newest."""
    kept = ("a", "b", "c")
    stories = [("a",), ("a", "b"), kept, ("a", "c", "d"), ("a", "d", "e"), ("a", "f", "g")]
    changes = [change(seq, "trial", 0, state="RUNNING", history=history) for seq, history in enumerate(stories)]
    assert lines(*changes) == [f"trial 0: {letter}" for letter in "abcdefg"]


def test_what_this_version_does_not_know_is_told_as_it_is():
    assert lines(change(1, "worker", None, worker="w0")) == ["worker: worker=w0"]
