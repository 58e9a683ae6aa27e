from __future__ import annotations

import asyncio

import pytest
from textual.app import App

from rnnsweep.app.watch.prompts import LinePrompt, YesNo


@pytest.mark.parametrize(
    ("prompt", "keys", "answer"),
    [
        (LinePrompt("Why?"), [*"too slow ", "enter"], "too slow"),
        (LinePrompt("Why?", "old"), ["enter"], "old"),
        (LinePrompt("Why?", longest=3), [*"abcdef", "enter"], "abc"),
        (LinePrompt("Why?"), [*"q", "escape"], None),
        (YesNo("Stop?"), ["y"], True),
        (YesNo("Stop?"), ["enter", "n"], False),
        (YesNo("Stop?"), ["escape"], False),
    ],
)
def test_a_question_has_its_answer(prompt, keys, answer) -> None:
    given: list[object] = []

    async def run() -> None:
        app: App[None] = App()
        async with app.run_test() as pilot:
            app.push_screen(prompt, given.append)
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()

    asyncio.run(run())
    assert given == [answer]
