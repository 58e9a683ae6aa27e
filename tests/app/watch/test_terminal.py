"""The screen, driven by keys as a user would, on a terminal of 80 x 24."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from rnnsweep.app.watch.prompts import LinePrompt, YesNo
from rnnsweep.app.watch.terminal import WatchApp
from rnnsweep.errors import StoreError
from rnnsweep.sweep.ports import PutRung, PutTrial
from rnnsweep.sweep.states import TrialState

SIZE = (80, 24)


def watched(made: Any, act: Callable[[WatchApp, Pilot], Awaitable[None]], size: tuple[int, int] = SIZE) -> None:
    """Run the screen on a sweep; it reads when told to, not by the clock."""

    async def run() -> None:
        app = WatchApp(made.sweep(), every=3600)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.snapshot is not None)
            await act(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot, there: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not there():
        assert time.monotonic() < end
        await pilot.pause(0.02)
    await pilot.pause()


async def look(app: WatchApp, pilot: Pilot) -> None:
    before = app.snapshot
    app.look()
    await until(pilot, lambda: app.snapshot is not before)


def text(app: WatchApp, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).render())


def shown(app: WatchApp) -> list[str]:
    table = app.query_one(DataTable)
    return [str(table.get_row_at(row)[0]) for row in range(table.row_count)]


def test_a_narrow_terminal_has_table_curve_and_keys(driven) -> None:
    async def act(app: WatchApp, pilot: Pilot) -> None:
        assert text(app, "head").startswith("watched  RUNNING · 2 waiting, 2 running")
        assert shown(app) == [str(number) for number in range(8)]
        assert text(app, "curve").startswith("objective of trial 0   best: trial 4")
        assert app.query_one("#curve").size.height == 7
        assert app.query_one(DataTable).size.height >= 10
        lines = [len(line) for line in text(app, "curve").splitlines()]
        assert max(lines) <= 78
        await pilot.press("down", "down")
        assert text(app, "curve").startswith("objective of trial 2")
        await pilot.press("enter")
        assert app.query_one("#details").display
        assert "init.sigma=0.385714285714" in text(app, "details")
        assert app.query_one(DataTable).size.height >= 3
        await pilot.press("d", "b")
        assert not app.query_one("#details").display
        assert app.chosen == 4

    watched(driven(8), act)


def test_what_happens_arrives_and_the_cursor_stays_on_its_trial(driven) -> None:
    made = driven(8)

    async def act(app: WatchApp, pilot: Pilot) -> None:
        await pilot.press("o", "o", "o", "r")  # by objective, downwards
        assert shown(app) == ["0", "1", "3", "4", "5", "7", "2", "6"]
        await pilot.press("down", "down", "down")
        assert app.chosen == 4
        made.write(PutRung(5, 5, 500, {"valid/error": 0.9}, (0.9,)))
        await look(app, pilot)
        assert shown(app)[0] == "5"
        assert app.chosen == 4
        made.write(PutRung(5, 6, 600, {"valid/error": 0.95}, (0.95,)))  # the order stays: only cells change
        await look(app, pilot)
        assert [str(cell) for cell in app.query_one(DataTable).get_row("5")[2:4]] == ["600", "0.95*"]
        assert text(app, "note") == "by objective ↓"

    watched(made, act)


def test_requests_on_the_trial_under_the_cursor(driven) -> None:
    made = driven(8)

    async def act(app: WatchApp, pilot: Pilot) -> None:
        await pilot.press("down", "p")
        await until(pilot, lambda: text(app, "note") == "asked trial 1 to pause")
        assert made.taken() == [("pause_trial", {"trial": 1, "reason": "", "reopened": 0})]
        assert app.snapshot is not None
        paused = replace(app.snapshot.trials[1], state=TrialState.PAUSED, reason="paused by request")
        made.write(PutTrial(paused))
        await look(app, pilot)
        await pilot.press("p")
        await until(pilot, lambda: text(app, "note") == "asked trial 1 to go on")
        assert made.taken() == [("unpause_trial", {"trial": 1, "reason": "", "reopened": 0})]
        await pilot.press("e")
        assert isinstance(app.screen, LinePrompt)
        await pilot.press(*"no use", "enter")
        await until(pilot, lambda: made.ledger.requests_wait("watched"))
        assert made.taken() == [("end_trial", {"trial": 1, "reason": "no use", "reopened": 0})]
        await pilot.press("e", "escape", "up", "p")  # trial 0 has ended
        await until(pilot, lambda: text(app, "note").startswith("error: --trial=0: trial is COMPLETE"))
        assert made.taken() == []

    watched(made, act)


def test_a_stop_is_asked_for_twice(driven) -> None:
    made = driven(4)

    async def act(app: WatchApp, pilot: Pilot) -> None:
        await pilot.press("s", "n", "s")
        assert isinstance(app.screen, YesNo)
        await pilot.press("y")
        await until(pilot, lambda: text(app, "note") == "asked the sweep to stop")
        assert [kind for kind, _ in made.taken()] == ["stop"]

    watched(made, act)


def test_filters_and_their_mistakes(driven) -> None:
    async def act(app: WatchApp, pilot: Pilot) -> None:
        await pilot.press("slash", *"running", "enter")
        assert shown(app) == ["1", "5"]
        assert text(app, "note") == "by trial · only state=running"
        await pilot.press("slash")
        assert app.screen.query_one(Input).value == "state=running"
        await pilot.press(*" sgma>1", "enter")
        assert text(app, "note").startswith("error: --where='sgma': no such column")
        assert shown(app) == ["1", "5"]
        await pilot.press("slash", "ctrl+u", "enter")
        assert len(shown(app)) == 8
        await pilot.press("slash", *"objective<0", "enter")
        assert shown(app) == []
        await pilot.press("p", "e", "m", "d", "b", "o", "r")  # nothing is under the cursor: nothing happens
        assert app.is_running

    watched(driven(8), act)


def test_other_metrics_of_the_trial_are_drawn(driven) -> None:
    async def act(app: WatchApp, pilot: Pilot) -> None:
        await pilot.press("m")
        await until(pilot, lambda: "train/loss of trial 0" in text(app, "curve"))
        await pilot.press("m")
        await until(pilot, lambda: "valid/error of trial 0" in text(app, "curve"))
        await pilot.press("down")
        await until(pilot, lambda: "valid/error of trial 1" in text(app, "curve"))
        await pilot.press("m")
        await until(pilot, lambda: "objective of trial 1" in text(app, "curve"))

    watched(driven(8), act)


def test_a_store_that_is_away_leaves_the_last_picture(driven, monkeypatch) -> None:
    made = driven(4)

    async def act(app: WatchApp, pilot: Pilot) -> None:
        with monkeypatch.context() as patch:

            def away(*unused):
                raise StoreError("ledger", "the database does not answer")

            patch.setattr(type(made.ledger), "changes", away)
            app.look()
            await until(pilot, lambda: "does not answer" in text(app, "note"))
        assert len(shown(app)) == 4
        made.write(PutRung(1, 9, 900, {"valid/error": 0.5}, (0.5,)))
        await look(app, pilot)
        assert str(app.query_one(DataTable).get_row("1")[2]) == "900"
        assert "answer" not in text(app, "note")

    watched(made, act)


def test_a_thousand_trials_are_listed_and_followed(driven) -> None:
    """Bounds are far above what was measured (see docs), so that a busy machine does not fail: minutes would."""
    made = driven(1000)

    async def act(app: WatchApp, pilot: Pilot) -> None:
        assert len(shown(app)) == 1000
        start = time.monotonic()
        made.write(*(PutRung(n, 5, 500, {"valid/error": 0.5}, (0.5,)) for n in range(1, 1000, 4)))
        await look(app, pilot)
        await pilot.press("o", "r", "end")
        assert app.chosen is not None
        assert time.monotonic() - start < 30

    watched(made, act)


@pytest.mark.parametrize("size", [(30, 10), (200, 60)])
def test_other_sizes_of_terminals(driven, size: tuple[int, int]) -> None:
    async def act(app: WatchApp, pilot: Pilot) -> None:
        await pilot.resize_terminal(*size[::-1])
        await pilot.press("d", "down")
        assert app.chosen == 1

    watched(driven(4), act, size)
