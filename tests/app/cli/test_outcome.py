"""What launch and resume print at the end."""

from __future__ import annotations

from rnnsweep.app.cli.outcome import troubles


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
