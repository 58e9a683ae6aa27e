from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.results.posting import LONGEST_REASON, post
from rnnsweep.app.results.sweep import Sweep, open_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.ports import Ledger, PutTrial, TrialView
from rnnsweep.sweep.states import TrialState

OPEN, PAUSED = 5, 6


@pytest.fixture
def sweep(store: Path) -> Sweep:
    return open_sweep("quickstart", store=store)


@pytest.fixture
def ledger(sweep: Sweep) -> Iterator[Ledger]:
    """The store of the commands' tests, with a trial that waits and one that is paused."""
    opened = open_ledger(sweep.place.ledger)
    fence = opened.acquire(sweep.name, "test", 0.0)
    opened.take_requests(sweep.name, fence)
    params = opened.trials(sweep.name)[0].params
    new = [TrialView(OPEN, TrialState.WAITING, params, reopened=2)]
    new.append(TrialView(PAUSED, TrialState.PAUSED, params, reopened=2))
    opened.commit(sweep.name, fence, [PutTrial(view) for view in new])
    opened.release(sweep.name, fence)
    yield opened
    opened.close()


def taken(ledger: Ledger, sweep: Sweep) -> list:
    fence = ledger.acquire(sweep.name, "test", 0.0)
    requests = ledger.take_requests(sweep.name, fence)
    ledger.release(sweep.name, fence)
    return requests


def test_a_request_names_the_time_that_it_is_meant_for(sweep: Sweep, ledger: Ledger) -> None:
    sweep.end_trial(OPEN, "hopeless")
    sweep.pause_trial(OPEN)
    sweep.unpause_trial(PAUSED)
    assert taken(ledger, sweep) == [
        ("end_trial", {"trial": OPEN, "reason": "hopeless", "reopened": 2}),
        ("pause_trial", {"trial": OPEN, "reason": "", "reopened": 2}),
        ("unpause_trial", {"trial": PAUSED, "reason": "", "reopened": 2}),
    ]


@pytest.mark.parametrize(
    ("kind", "trial", "message"),
    [
        ("end_trial", 99, "--trial=99: sweep 'quickstart' has no such trial; allowed: 0 to 6"),
        ("end_trial", 0, "--trial=0: trial is COMPLETE; allowed: WAITING, RUNNING, PAUSED"),
        ("pause_trial", 3, "--trial=3: trial is PRUNED; allowed: WAITING, RUNNING"),
        ("pause_trial", PAUSED, "--trial=6: trial is PAUSED; allowed: WAITING, RUNNING"),
        ("unpause_trial", OPEN, "--trial=5: trial is WAITING; allowed: PAUSED"),
        ("unpause_trial", 2, "--trial=2: trial is FAILED; allowed: PAUSED"),
        ("revive_trial", 2, "request='revive_trial': no request on a trial"),
    ],
)
def test_what_could_change_nothing_is_refused_in_one_line(
    sweep: Sweep, ledger: Ledger, kind: str, trial: int, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        sweep.request(kind, [PAUSED if kind == "unpause_trial" else OPEN, trial])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert taken(ledger, sweep) == []  # all or none


@pytest.mark.parametrize("reason", ["x" * (LONGEST_REASON + 1), "two\nlines", "\x1b[31mred"])
def test_a_reason_is_one_short_line(sweep: Sweep, ledger: Ledger, reason: str) -> None:
    with pytest.raises(ConfigError, match="--reason"):
        sweep.end_trial(OPEN, reason)
    assert taken(ledger, sweep) == []


def test_requests_that_wait_may_change_what_is_possible(sweep: Sweep, ledger: Ledger) -> None:
    """Pause and change of mind, before any driver has heard of it."""
    sweep.pause_trial(OPEN)
    sweep.unpause_trial(OPEN)
    assert [kind for kind, _ in taken(ledger, sweep)] == ["pause_trial", "unpause_trial"]
    view = ledger.sweep(sweep.name)
    assert view is not None
    post(ledger, view, "pause_trial", [OPEN, OPEN])
    assert len(taken(ledger, sweep)) == 1
