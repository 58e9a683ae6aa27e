"""What launch and resume print at the end."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from rnnsweep.app.cli.outcome import finish, print_result, troubles, ways_on
from rnnsweep.app.results import mlflow_runs
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.stores import StorePlace
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


def test_a_disk_that_is_full_at_the_last_picture_is_a_note_not_a_failure(tiny, capsys, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device", "overview.png")

    monkeypatch.setattr(Sweep, "overview", full)
    _, sweep = tiny
    print_result(sweep)
    finish(sweep)  # would raise typer.Exit for any code but 0
    shown = capsys.readouterr()
    assert "Sweep 'tiny' is COMPLETE: 3 trials, 0 failed" in shown.out
    assert "rnnsweep report tiny" in shown.out
    assert "note: no picture (No space left on device: overview.png)" in shown.err


def test_commands_that_go_on_can_be_typed(tiny):
    _, sweep = tiny
    spaced = replace(sweep, name="my sweep", place=StorePlace(Path("/a b"), "sqlite:////a b/ledger.db", named=True))
    for line in ways_on(spaced, failed=0):
        words = shlex.split(line[10:])
        assert words[0] == "rnnsweep"
        assert "my sweep" in words
        assert words[words.index("--store") + 1] == "/a b"
    assert ways_on(sweep, failed=2)[-1].startswith("go on     rnnsweep resume tiny")
    assert "--failed" in ways_on(sweep, failed=2)[-1]


def test_the_ui_of_mlflow_is_named_where_the_sweep_is_in_it(tiny, capsys, monkeypatch):
    _, sweep = tiny  # tracker=none
    print_result(sweep)
    assert "rnnsweep ui" not in capsys.readouterr().out
    monkeypatch.setattr(mlflow_runs, "is_tracked", lambda view: view.name == "tiny")
    print_result(sweep)
    assert "rnnsweep ui tiny" in capsys.readouterr().out


@pytest.mark.parametrize("code", [0, 1])
def test_what_mirrors_lack_is_said_at_the_very_end(tiny, capsys, code):
    _, sweep = tiny
    outcome = replace(sweep.outcome, exit_code=code, behind=("mlflow",), refused=("optuna: trial 3: 20.5",))
    if code:
        with pytest.raises(typer.Exit) as ended:
            finish(replace(sweep, outcome=outcome))
        assert ended.value.exit_code == code
    else:
        finish(replace(sweep, outcome=outcome))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("note: mlflow is not up to date yet")
    assert lines[1] == "note: left out, as the store cannot take it: optuna: trial 3: 20.5"


@pytest.mark.parametrize(
    ("state", "failed", "line"),
    [
        (SweepState.COMPLETE, 0, "more      rnnsweep resume tiny budget.trials=N"),
        (SweepState.COMPLETE, 2, "go on     rnnsweep resume tiny --failed"),
        (SweepState.FAILED, 3, "go on     rnnsweep resume tiny --failed"),  # without it nothing would be tried again
        (SweepState.FAILED, 0, "go on     rnnsweep resume tiny"),  # a store was away
        (SweepState.INTERRUPTED, 2, "go on     rnnsweep resume tiny"),  # what is unfinished goes on anyway
    ],
)
def test_the_last_line_is_the_one_that_helps(tiny, state, failed, line):
    _, sweep = tiny
    ended = replace(sweep, outcome=replace(sweep.outcome, state=state))
    assert ways_on(ended, failed)[-1].replace(f" {shlex.join(sweep.place.option)}", "") == line
