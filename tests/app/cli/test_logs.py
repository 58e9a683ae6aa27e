"""`rnnsweep logs`: what happened, from the journal."""

from __future__ import annotations


def test_logs_tell_the_story_in_order(run):
    lines = run("logs", "quickstart").stdout.splitlines()
    assert any("trial 2: FAILED bug" in line for line in lines)
    assert any("trial 1: update 800: 0.002" in line for line in lines)
    assert "INTERRUPTED" in lines[-1]
