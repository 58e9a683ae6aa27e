"""The tail of the journal: each entry is read once, and pages are told what is new to them."""

from __future__ import annotations

import pytest

from rnnsweep.service.page import journal_tail
from rnnsweep.service.page.journal_tail import POINTS, JournalTail, thinned
from rnnsweep.sweep.states import TrialState
from tests.kit.live_page import EVERY, NAME, UPDATES, WrittenSweep


class Clock:
    """Moves past the period at every look."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 1.0
        return self.at


@pytest.fixture
def sweep(tmp_path):
    made = WrittenSweep(tmp_path, 25)
    yield made
    made.close()


def tail(key: str = "") -> JournalTail:
    return JournalTail(NAME, key, now=Clock())


def test_the_first_news_are_all_that_the_ledger_has(sweep):
    news = tail().news(sweep.ledger, 0)
    assert news.whole and not news.more
    assert news.trials == sweep.ledger.trials(NAME)
    rungs = [change for change in sweep.ledger.changes(NAME, 0, 10_000) if change.kind == "rung"]
    assert {t: len(points) for t, points in news.points.items()} == {
        number: sum(change.trial == number for change in rungs) for number in {change.trial for change in rungs}
    }
    assert news.points[0][-1] == [UPDATES, news.trials[0].values[0]]
    assert "grad/norm" in news.keys


def test_later_news_are_what_has_come_since(sweep):
    looks = tail()
    first = looks.news(sweep.ledger, 0)
    assert looks.news(sweep.ledger, first.seq).trials == []
    sweep.commit(sweep.rung(17, 6, 0.25))
    sweep.commit(sweep.whole_trial(25))
    news = looks.news(sweep.ledger, first.seq)
    assert not news.whole
    assert [trial.number for trial in news.trials] == [17, 25]
    assert news.points[17] == [[6 * EVERY, 0.25]]
    assert len(news.points[25]) == UPDATES // EVERY
    assert looks.newest[17] == (6 * EVERY, 0.25)


def test_two_pages_that_ask_at_other_times_are_told_the_same(sweep):
    looks = tail()
    start = looks.news(sweep.ledger, 0).seq
    sweep.commit(sweep.rung(17, 6, 0.25))
    middle = looks.news(sweep.ledger, start)
    sweep.commit(sweep.rung(17, 7, 0.2))
    assert looks.news(sweep.ledger, middle.seq).points == {17: [[7 * EVERY, 0.2]]}
    assert looks.news(sweep.ledger, start).points == {17: [[6 * EVERY, 0.25], [7 * EVERY, 0.2]]}


def test_a_long_journal_is_read_in_parts_and_shows_no_state_of_the_past(sweep, monkeypatch):
    monkeypatch.setattr(journal_tail, "AT_ONCE", 20)
    monkeypatch.setattr(journal_tail, "ROUNDS", 1)
    looks, answers = tail(), []
    while not answers or answers[-1].more:
        answers.append(looks.news(sweep.ledger, 0))
    assert len(answers) > 5
    for news in answers:
        assert news.trials == sweep.ledger.trials(NAME)
    assert [len(news.points) > 0 for news in answers] == [False] * (len(answers) - 1) + [True]
    assert answers[0].seq == 0  # whoever was told of no points asks for all of them


def test_looking_needs_no_journal(sweep, monkeypatch):
    monkeypatch.setattr(type(sweep.ledger), "changes", lambda *_, **__: pytest.fail("the journal was read"))
    assert tail().look(sweep.ledger) == sweep.ledger.trials(NAME)


def test_looks_see_later_changes(sweep):
    looks = tail()
    assert looks.look(sweep.ledger)[18].state is TrialState.WAITING
    sweep.commit(sweep.whole_trial(25))
    looks.look(sweep.ledger)
    assert looks.look(sweep.ledger)[25].state is TrialState.COMPLETE


def test_points_that_were_dropped_are_told_again_as_a_whole(sweep, monkeypatch):
    monkeypatch.setattr(journal_tail, "RECENT", 5)
    looks = tail()
    start = looks.news(sweep.ledger, 0).seq
    for rung in range(6, 10):
        sweep.commit(sweep.rung(17, rung, 0.1))
        sweep.commit(sweep.rung(18, rung, 0.1))
    assert looks.news(sweep.ledger, start).whole


def test_curves_of_another_metric(sweep):
    assert tail("grad/norm").news(sweep.ledger, 0).points[0][1] == [2 * EVERY, 0.5]
    assert tail("no/metric").news(sweep.ledger, 0).points == {}


def test_the_ledger_is_asked_once_in_a_period(sweep, monkeypatch):
    looks = JournalTail(NAME, now=lambda: 5.0)
    start = looks.news(sweep.ledger, 0).seq
    sweep.commit(sweep.rung(17, 6, 0.25))
    assert looks.news(sweep.ledger, start).points == {}
    looks.now = lambda: 5.0 + journal_tail.PERIOD_S
    assert looks.news(sweep.ledger, start).points == {17: [[6 * EVERY, 0.25]]}


@pytest.mark.parametrize("length", [1, POINTS, POINTS + 1, 2 * POINTS, 1000])
def test_a_thinned_curve_keeps_its_ends(length):
    curve = [[float(step), 0.0] for step in range(length)]
    short = thinned(curve)
    assert len(short) <= POINTS
    assert short[0] == curve[0] and short[-1] == curve[-1]
    assert short == sorted(short)
