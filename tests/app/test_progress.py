"""Progress is told without a terminal, at a bounded pace, and never fails for lack of figures."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from rnnsweep.app.progress import LiveProgress
from rnnsweep.sweep.progress import Progress
from rnnsweep.sweep.states import TrialState

START = Progress(dict.fromkeys(TrialState, 0), None, 0, None, 0, 0.0, 0.0, None)
LATER = Progress(
    {TrialState.COMPLETE: 3, TrialState.RUNNING: 2, TrialState.FAILED: 1}, 24, 2, (1, 0.25), 9000, 410.0, 61.0, 75.0
)


def test_plain_lines_come_at_most_every_few_seconds_and_once_at_the_end():
    stream = io.StringIO()
    with LiveProgress("s", stream) as shown:
        for _ in range(100):
            shown.update(LATER)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "3 complete" in lines[-1]
    assert "best 0.25 (trial 1)" in lines[-1]
    assert "410 updates/s" in lines[-1]
    assert "at most 1:15 left" in lines[-1]


def test_a_sweep_that_has_just_begun():
    stream = io.StringIO()
    with LiveProgress("s", stream) as shown:
        shown.update(START)
    assert "starting · no result yet" in stream.getvalue()


def test_ties_with_the_best_trial_are_said_and_what_is_said_later_comes_below_the_last_figures():
    stream = io.StringIO()
    with LiveProgress("s", stream) as shown:
        shown.update(replace(LATER, tied=6))
        shown.finish()
        shown.say("mlflow is away")
    lines = stream.getvalue().splitlines()
    assert "best 0.25 (trial 1, 6 tie)" in lines[-2]
    assert lines[-1] == "mlflow is away"


def test_a_silence_before_the_first_rung_is_explained():
    stream = io.StringIO()
    running = replace(START, trials={TrialState.RUNNING: 2})
    with LiveProgress("s", stream) as shown:
        shown.update(running)
    assert "2 running · no result yet · a machine's first run compiles its loops" in stream.getvalue()
    assert "compiles" not in LiveProgress("s", stream).line(replace(running, updates=200))


def test_bars_fit_their_width_and_count_finished_trials():
    console = Console(file=io.StringIO(), width=120)
    for progress in (START, LATER):
        console.print(LiveProgress("s", io.StringIO()).bars(progress))
    text = console.file.getvalue()
    assert "4/24 trials" in text
    bar = text.splitlines()[-3]
    assert sum(bar.count(glyph) for glyph in "█▓▒░·") == 40


def test_messages_stand_among_the_lines():
    stream = io.StringIO()
    with LiveProgress("s", stream) as shown:
        shown.say("note")
    assert stream.getvalue() == "note\n"
