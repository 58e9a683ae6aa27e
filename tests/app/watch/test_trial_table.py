from __future__ import annotations

import pytest

from rnnsweep.app.watch.feed import SweepFeed
from rnnsweep.app.watch.journal_source import StoreSource
from rnnsweep.app.watch.trial_table import Selection, cells, columns_of
from rnnsweep.errors import ConfigError


@pytest.fixture
def entries(driven):
    feed = SweepFeed(StoreSource(driven(8).sweep().place, "watched"))
    yield feed.read().entries
    feed.close()


def numbers(selection: Selection, entries) -> list[int]:
    return [entry["trial"] for entry in selection.of(entries)]


def test_sorted_by_any_column_both_ways(entries) -> None:
    assert numbers(Selection(), entries) == list(range(8))
    assert numbers(Selection("value", True), entries) == [0, 1, 3, 4, 5, 7, 2, 6]  # those without a value last
    seen, selection = [], Selection()
    for _ in columns_of(entries):
        seen.append(selection.by)
        selection = selection.next_column(entries)
    assert seen == list(columns_of(entries)) and selection == Selection()
    assert Selection().of([]) == []


def test_a_line_of_conditions_filters(entries) -> None:
    assert numbers(Selection().filtered("running", entries), entries) == [1, 5]
    assert numbers(Selection("threshold", True).filtered("sigma>0.5 state!=WAITING", entries), entries) == [7, 5, 4, 3]
    assert Selection().filtered("running", entries).filtered("", entries) == Selection()
    assert str(Selection("value", True, ("state=running",))) == "by objective ↓ · only state=running"
    for wrong in ("state=RUNING", "sgma>1", "nothing"):
        with pytest.raises(ConfigError):
            Selection().filtered(wrong, entries)


def test_cells_are_short_and_harmless(entries) -> None:
    columns = list(columns_of(entries))
    assert columns[:4] == ["trial", "state", "step", "value"]
    assert list(columns_of(entries).values())[4:6] == ["sigma", "threshold"]
    assert cells(entries[1], columns)[:6] == ["1", "RUNNING", "400", "0.1667*", "0.2429", "2"]
    assert cells(entries[2], columns)[2:4] == ["0", "–"]
    wild = {**entries[1], "reason": "\x1b[31m red"}
    assert "\x1b" not in cells(wild, columns)[-1]
