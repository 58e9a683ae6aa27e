"""Which entries are worth a message, and what it says."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.webhooks.messages import FEWEST, SweepNews, Wanted, in_words
from tests.kit.demo_sweep import VIEW, Journal, make_plan, story

ALL = ("end", "failure", "divergence", "best")


def told(changes, *events, **wanted):
    news = SweepNews(VIEW, make_plan(), Wanted(events or ALL, **wanted))
    return [message for change in changes for message in news.take(change)]


def events(messages):
    return [(message.payload["event"], message.payload["trial"]) for message in messages]


def test_a_whole_sweep():
    # trial 0 is the first result (0.05), 3 is better in the end (0.01), 2 and 3 fail on the way
    assert events(told(story())) == [("best", 0), ("failure", 2), ("failure", 3), ("best", 3), ("end", None)]
    assert events(told(story(), "end")) == [("end", None)]
    last = told(story(), "end", link="https://pages/{sweep}/")[0].payload
    assert last["state"] == "COMPLETE" and last["sweep"] == "demo" and last["link"] == "https://pages/demo/"
    assert last["trials"] == {"waiting": 0, "running": 0, "paused": 0, "complete": 2, "pruned": 1, "failed": 1}
    assert last["best"]["trial"] == 3 and last["best"]["objective"] == 0.01
    assert last["objective"] == {"metric": "valid/error", "goal": "minimize"}
    assert last["id"] == f"{VIEW.identity}-{story()[-1].seq}-end"


def test_entries_that_come_again_are_worth_nothing():
    news = SweepNews(VIEW, make_plan(), Wanted(ALL))
    changes = story()
    assert sum(len(news.take(change)) for change in changes) == 5
    assert sum(len(news.take(change)) for change in changes) == 0


@pytest.mark.parametrize(("wanted", "expected"), [(ALL, ["end"]), (("failure",), ["failure"]), (("best",), [])])
def test_a_sweep_that_fails_is_told_once(wanted, expected):
    journal = Journal()
    journal.sweep("RUNNING")
    journal.sweep("FAILED")
    journal.sweep("FAILED")
    assert [message.payload["event"] for message in told(journal.changes, *wanted)] == expected


def test_a_sweep_that_is_stopped_and_goes_on_ends_twice():
    journal = Journal()
    for state in ("RUNNING", "STOPPED", "RUNNING", "RUNNING", "COMPLETE"):
        journal.sweep(state)
    assert [message.payload["state"] for message in told(journal.changes, "end")] == ["STOPPED", "COMPLETE"]


def test_divergence_is_told_when_the_share_is_crossed_and_again_when_it_was_below_between():
    journal = Journal()
    diverged = [True] * (FEWEST + 1) + [False] * (FEWEST + 2) + [True] * 3
    for number, bad in enumerate(diverged):
        journal.trial(number, "COMPLETE", (1.0,), diverged_at=3 if bad else None)
    found = told(journal.changes, "divergence", diverged_above=0.5)
    # of the first five all have; after thirteen 6 of 13; the last three make 9 of 16
    assert [message.payload["reason"] for message in found] == ["5 of 5 trials diverged", "8 of 15 trials diverged"]


def test_of_equals_the_first_stays_the_best():
    journal = Journal()
    for number, value in enumerate((0.5, 0.5, 0.4, 0.6, 0.4)):
        journal.trial(number, "COMPLETE", (value,))
    assert events(told(journal.changes, "best")) == [("best", 0), ("best", 2)]


def test_in_words():
    words = [in_words(message.payload) for message in told(story())]
    assert words[0] == "Sweep demo: trial 0 is the best so far, valid/error 0.05. 3 running, 1 complete."
    assert words[1].startswith("Sweep demo: trial 2 failed: bug. ")
    assert words[-1] == ("Sweep demo: COMPLETE. Best: trial 3, valid/error 0.01. 2 complete, 1 pruned, 1 failed.")
