from __future__ import annotations

import sys

import pytest

from rnnsweep.app.watch import terminal
from rnnsweep.app.watch.opening import show_live
from rnnsweep.errors import ConfigError


def test_without_textual_the_extra_is_named_in_one_line(driven, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)  # as if it were not installed
    with pytest.raises(ConfigError) as error:
        show_live(driven(2).sweep())
    assert str(error.value).startswith("watch='watched': needs textual. Install it with: pip install ")
    assert "(extra 'watch')" in str(error.value) and "\n" not in str(error.value)


def test_the_screen_is_that_of_the_sweep(driven, monkeypatch) -> None:
    ran: list[tuple[str, float]] = []

    class Screen:
        def __init__(self, sweep, every) -> None:
            self.of = (sweep.name, every)

        def run(self) -> None:
            ran.append(self.of)

    monkeypatch.setattr(terminal, "WatchApp", Screen)
    show_live(driven(2).sweep(), 2.0)
    assert ran == [("watched", 2.0)]
