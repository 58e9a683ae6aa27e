"""Progress is told without a terminal, at a bounded pace, by updates done, and never fails for lack of figures."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from rnnsweep.app import live_display as shown
from rnnsweep.app.live_display import LiveProgress, Watcher
from rnnsweep.sweep.progress import Progress
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState, TrialState

START = Progress(dict.fromkeys(TrialState, 0), None, 0, None, 0, 0.0, 0.0, None)
LATER = Progress(
    {TrialState.COMPLETE: 3, TrialState.RUNNING: 2, TrialState.FAILED: 1},
    24,
    2,
    (1, 0.25),
    9000,
    410.0,
    61.0,
    75.0,
    whole=24 * 2000,
    shares={TrialState.COMPLETE: 3 / 24, TrialState.FAILED: 1 / 24, TrialState.RUNNING: 3 / 24},
    in_training=2 / 24,
)


@pytest.fixture
def clock(monkeypatch):
    """Time that stands until it is moved."""
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


def silent(name: str = "s") -> LiveProgress:
    return LiveProgress(name, stream=io.StringIO())


def drawn(live: LiveProgress, progress: Progress, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(live.bars(progress))
    return console.file.getvalue().splitlines()


def test_plain_lines_come_at_most_every_few_seconds_and_once_at_the_end():
    stream = io.StringIO()
    with LiveProgress("s", stream=stream) as live:
        for _ in range(100):
            live.update(LATER)
        live.update(replace(LATER, updates_per_s=411.0))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "3 complete" in lines[-1]
    assert "best 0.25 (trial 1)" in lines[-1]
    assert "410 updates/s" in lines[0] and "411 updates/s" in lines[-1]
    assert "at most 1:15 left" in lines[-1]


def test_figures_that_have_been_said_are_not_said_again_at_the_end():
    stream = io.StringIO()
    with LiveProgress("s", stream=stream) as live:
        live.update(LATER)
        live.update(replace(LATER, wall_s=62.0))  # shown nowhere
    assert len(stream.getvalue().splitlines()) == 1


def test_ties_with_the_best_trial_are_said_and_what_is_waited_for_comes_below_the_last_figures():
    stream = io.StringIO()
    with LiveProgress("s", stream=stream) as shown:
        shown.update(replace(LATER, tied=6))
        shown.stop()
        shown.waiting("mlflow is away")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "best 0.25 (trial 1, 6 more tie)" in lines[-2]
    assert lines[-1].endswith("s: mlflow is away")


def test_a_sweep_that_has_just_begun():
    stream = io.StringIO()
    with LiveProgress("s", stream=stream) as live:
        live.update(START)
    assert "s: 0 % · no result yet · starting workers" in stream.getvalue()


def test_a_bar_is_as_long_as_the_updates_that_are_done(clock):
    """Four trials of 24 have ended, two are halfway through three: 7 of 24 of a bar of 40."""
    live = silent()
    live.update(LATER)
    bar, *_ = drawn(live, LATER)
    assert [bar.count(glyph) for glyph in "█▓▒░·"] == [5, 0, 2, 5, 28]
    assert "29 %  4/24 trials" in bar


def test_a_bar_moves_within_a_rung_by_the_rate_and_never_beyond_it(clock):
    live = silent()
    live.update(LATER)
    clock[0] += 5.0  # 5 s at 410 updates/s of 48 000
    assert live.share(LATER) == pytest.approx(7 / 24 + 5 * 410 / 48000)
    live.update(replace(LATER, wall_s=66.0))  # no news: the rung goes on
    assert live.share(LATER) == pytest.approx(7 / 24 + 5 * 410 / 48000)
    clock[0] += 500.0
    assert live.share(LATER) == pytest.approx(9 / 24)
    live.update(replace(LATER, updates=9400))
    assert live.share(LATER) == pytest.approx(7 / 24)


def test_the_best_so_far_counts_before_its_trial_has_ended():
    text = " ".join(drawn(silent(), replace(LATER, leading=(7, 0.0, 400))))
    assert "best so far 0 (trial 7 at update 400)" in text
    assert "no result yet" not in text


def test_a_best_time_that_has_not_come_is_not_shown_as_one():
    text = silent().line(replace(LATER, best=(1, 2000.0), unsolved=True))
    assert "unsolved so far" in text
    assert "2000" not in text


def test_ties_are_said():
    assert "best 0.25 (trial 1, 6 more tie)" in silent().line(replace(LATER, tied=6))


def test_compiling_is_said_while_it_lasts():
    """Also before a worker has joined, and in later rungs: another trial may need other loops."""
    live, said = silent(), "compiling the loops for this machine (first run only)"
    for progress in (START, replace(LATER, updates=500), LATER):
        live.update(progress)
        assert said not in live.line(progress)
        compiling = replace(progress, compiling=True)
        live.update(compiling)
        assert said in live.line(compiling)
        assert "starting workers" not in live.line(compiling)


LONG = replace(LATER, leading=(123, 0.123456, 123456), tied=9, updates_per_s=12345.0)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
@pytest.mark.parametrize("progress", [START, LATER, LONG, replace(START, compiling=True)])
def test_three_lines_fit_any_width(progress, width):
    live = silent("a-sweep-of-a-good-name")
    live.update(progress)
    lines = drawn(live, progress, width)
    assert len(lines) == 3, "a line has wrapped"
    assert max(map(len, lines)) <= width
    assert f"/{progress.total or '–'} trials" in lines[0]
    assert sum(lines[0].count(glyph) for glyph in "█▓▒░·") >= 10


def test_what_matters_least_is_left_out_first():
    live = silent()
    live.update(LONG)
    status = {width: drawn(live, LONG, width)[2].rstrip() for width in (120, 80, 50, 28)}
    best = "0:00 · best so far 0.1235 (trial 123 at update 123456)"
    assert status == {
        120: f"{best} · 12345 updates/s · at most 1:15 left · 2 workers",
        80: f"{best} · at most 1:15 left",
        50: "0:00 · best so far 0.1235 · at most 1:15 left",
        28: "0:00 · best so far 0.1235",
    }
    first = replace(START, compiling=True)
    assert "compiling the loops for this machine (first run only)" in drawn(live, first)[2]
    assert "compiling (first run only)" in drawn(live, first, 50)[2]
    assert drawn(live, LATER, 40)[1].rstrip() == "█ 3 complete   ▒ 1 failed   ░ 2 running"


def test_what_is_done_before_the_first_figures_does_not_wrap():
    live = silent()
    live.phase("comparing code and data with those of before, which takes a while")
    console = Console(file=io.StringIO(), width=40)
    console.print(live._render())
    assert len(console.file.getvalue().splitlines()) == 1


def test_what_comes_before_the_first_figures_is_shown_on_a_terminal():
    live = silent()
    live.phase("reading the configuration")
    console = Console(file=io.StringIO(), width=80)
    console.print(live._render())
    assert "s  0:00  reading the configuration" in console.file.getvalue()


def test_a_long_silence_is_broken_without_a_terminal(monkeypatch):
    monkeypatch.setattr(shown, "PLAIN_S", 0.0)
    stream = io.StringIO()
    with LiveProgress("s", stream=stream) as live:
        live.phase("connecting to Ray")
        live._done.wait(1.5)
    assert "s: connecting to Ray" in stream.getvalue()


def test_the_result_stands_below_the_last_figures_and_waits_below_the_result():
    stream, outcome = io.StringIO(), Outcome(SweepState.COMPLETE, 0, "")
    live = LiveProgress("s", lambda ended: stream.write(f"result {ended.state.value}\n"), stream=stream)
    with live:
        live.update(LATER)
        live.ended(outcome)
        live.waiting("mlflow is being written")
    lines = stream.getvalue().splitlines()
    assert "25" in lines[0]
    assert lines[1] == "result COMPLETE"
    assert lines[2].endswith("s: mlflow is being written")
    assert len(lines) == 3


def test_a_silent_watcher_hands_the_result_on():
    results = []
    with Watcher("s", results.append) as watcher:
        watcher.phase("x")
        watcher.update(LATER)
        watcher.ended(Outcome(SweepState.STOPPED, 3, ""))
        watcher.waiting("x")
    assert [outcome.exit_code for outcome in results] == [3]


def test_a_question_is_asked_while_nothing_moves():
    asked = []
    live = LiveProgress("s", stream=io.StringIO(), plain=False)
    with live:
        assert (
            live.asking(lambda text: asked.append((text, live._live.is_started)) or "answer")("Password: ") == "answer"
        )
        assert live._live.is_started
    with silent() as quiet:
        assert quiet.asking(str.upper)("x") == Watcher("s").asking(str.upper)("x") == "X"
    assert asked == [("Password: ", False)]
