"""What callers may ask, and what is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.service.desk import Desk
from rnnsweep.service.front import QueueState, Submission
from rnnsweep.sweep.ports import PutTrial, TrialView
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.states import SweepState, TrialState
from tests.service.conftest import state, submission


def test_a_submission_is_in_the_ledger_and_in_the_queue(desk: Desk) -> None:
    assert desk.submit(submission("a", user="ada", weight=2.0, priority=1)) == "a"
    (line,) = desk.queue()
    assert (line.name, line.state, line.user, line.weight, line.priority) == ("a", QueueState.QUEUED, "ada", 2.0, 1)
    view = desk.ledger.sweep("a")
    assert view is not None
    assert view.state is SweepState.INTERRUPTED, "whoever resumes it runs it"
    assert desk.workers() == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Submission("serach"), "serach"),
        (Submission("search", ("task.lenght=3",)), "task.length"),
        (Submission("search", weight=0.0), "weight"),
        (Submission("search", weight=float("nan")), "weight"),
        (Submission("search", priority=1.5), "priority"),  # type: ignore[arg-type]
        (Submission("search", ("store.ledger=sqlite:////tmp/other.db",)), "store.ledger"),
    ],
)
def test_a_wrong_submission_writes_nothing(desk: Desk, wrong: Submission, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        desk.submit(wrong)
    assert desk.queue() == []
    assert desk.ledger.sweeps() == []


def test_a_name_is_taken_once(desk: Desk) -> None:
    desk.submit(submission("a"))
    with pytest.raises(ConfigError, match="has a sweep of this name"):
        desk.submit(submission("a"))


def test_a_queued_sweep_is_taken_out_and_put_back(desk: Desk) -> None:
    desk.submit(submission("a"))
    desk.stop("a", "not now")
    assert (state(desk, "a"), desk.queue()[0].reason) == (QueueState.ENDED, "not now")
    desk.resume("a", ["budget.trials=5"])
    assert state(desk, "a") is QueueState.QUEUED
    with pytest.raises(ConfigError, match="in the queue already"):
        desk.resume("a")
    desk.pause("a", "later")
    assert state(desk, "a") is QueueState.PAUSED
    with pytest.raises(ConfigError, match="family"):
        desk.resume("a", ["family.hidden=9"])
    assert state(desk, "a") is QueueState.PAUSED
    desk.resume("a", ["budget.updates=40"])
    entry = desk.lines.get("a")
    assert entry is not None
    assert entry.overrides == ("budget.trials=5", "budget.updates=40"), "no driver has heeded the first one yet"


def test_wishes_for_finished_trials_are_checked_and_kept_for_the_session(desk: Desk) -> None:
    desk.submit(submission("a"))
    fence = desk.ledger.acquire("a", "test", 8.0)
    failed, complete = (TrialView(n, s, {}) for n, s in enumerate((TrialState.FAILED, TrialState.COMPLETE)))
    desk.ledger.commit("a", fence, [PutTrial(failed), PutTrial(complete)])
    desk.ledger.release("a", fence)
    desk.stop("a", "")
    for wrong, words in ((Reopen(trials=(7,)), "no such trial"), (Reopen(trials=(1,)), "COMPLETE")):
        with pytest.raises(ConfigError, match=words):
            desk.resume("a", reopen=wrong)
    assert state(desk, "a") is QueueState.ENDED
    desk.resume("a", reopen=Reopen(trials=(0, 1), extend=True))
    entry = desk.lines.get("a")
    assert entry is not None
    assert dict(entry.reopen) == {"failed": False, "trials": [0, 1], "extend": True}


def test_a_sweep_that_is_told_to_stop_may_be_asked_to_go_on(desk: Desk) -> None:
    desk.submit(submission("a"))
    desk.lines.change("a", lambda one: replace(one, state=QueueState.RUNNING))
    with pytest.raises(ConfigError, match="runs already"):
        desk.resume("a")
    desk.pause("a", "later")
    desk.resume("a", ["budget.trials=5"])
    entry = desk.lines.get("a")
    assert entry is not None
    assert (entry.state, entry.wish, entry.overrides) == (QueueState.RUNNING, "again", ("budget.trials=5",))


def test_requests_are_checked_before_they_are_left(desk: Desk) -> None:
    desk.submit(submission("a"))
    for kind, data, words in (
        ("budgt", {}, "budget"),
        ("budget", {"updates": 9}, "resume only"),
        ("enqueue", {}, "points"),
        ("enqueue", {"points": [{"nothing": 1}]}, "nothing"),
        ("edit", {}, "overrides"),
        ("edit", {"overrides": ["optimizer.lrr=interval(0,1)"]}, "optimizer.lr"),
        ("end_trial", {"trial": "3"}, "trial"),
        ("end_trial", {"trial": True}, "trial"),
    ):
        with pytest.raises(ConfigError, match=words):
            desk.request("a", kind, data)
    assert not desk.ledger.requests_wait("a")
    desk.request("a", "budget", {"trials": 9})
    desk.request("a", "edit", {"overrides": ["optimizer.lr=interval(0.1,0.5)"], "by": "ada"})
    fence = desk.ledger.acquire("a", "test", 0.0)
    (_, (kind, edit)) = desk.ledger.take_requests("a", fence)
    assert (kind, edit["by"], edit["typed"]) == ("edit", "ada", ["optimizer.lr=interval(0.1,0.5)"])


def test_what_the_store_does_not_have_is_named(desk: Desk) -> None:
    desk.submit(submission("alpha"))
    for ask in (desk.stop, desk.pause):
        with pytest.raises(ConfigError, match="alpha"):
            ask("alpah", "")
    with pytest.raises(ConfigError, match="alpha"):
        desk.resume("alpah")
