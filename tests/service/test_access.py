"""Whose sweep it is, and what that lets an account do."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from rnnsweep.adapters.ledger.access_tables import Account, AccountBook, Role
from rnnsweep.errors import ConfigError
from rnnsweep.service.access import LOCAL, NOBODY, OTHERS, REFRESH_S, Access, OwnFront, current
from rnnsweep.service.front import Submission
from rnnsweep.service.problems import RefusedError
from tests.service.conftest import OF_ADA, OF_BOB, OF_NOBODY, Served


@contextmanager
def acting(user: str, role: Role = Role.OPERATOR, every: bool = False):
    token = current.set(Account(user, role, every))
    try:
        yield
    finally:
        current.reset(token)


@pytest.fixture
def own(served: Served) -> OwnFront:
    return OwnFront(served.front)


def test_an_account_sees_its_own_sweeps(own: OwnFront):
    with acting("ada"):
        assert own.names() == [line.name for line in own.queue()] == [OF_ADA]
        assert own.workers()[0].rows == {OF_ADA: 2, OTHERS: 2}
    with acting("root", every=True):
        assert set(own.names()) == {OF_ADA, OF_BOB, OF_NOBODY}
        assert own.workers()[0].rows == {OF_ADA: 2, OF_BOB: 2}
    assert current.get() == NOBODY and own.names() == []


@pytest.mark.parametrize("name", [OF_BOB, OF_NOBODY])
def test_somebody_elses_sweep_is_refused_and_reaches_nothing(own: OwnFront, served: Served, name: str):
    with acting("ada"):
        for ask in (
            lambda: own.check(name),
            lambda: own.stop(name, "x"),
            lambda: own.pause(name, "x"),
            lambda: own.resume(name),
            lambda: own.request(name, "end_trial", {"trial": 1}),
        ):
            with pytest.raises(RefusedError, match=f"'{name}' belongs to another user"):
                ask()
    assert served.front.asked == []


def test_an_unknown_sweep_names_what_one_may_see_only(own: OwnFront):
    with acting("ada"), pytest.raises(ConfigError) as error:
        own.check("ada-on")
    assert OF_BOB not in str(error.value) and f"Did you mean '{OF_ADA}'" in str(error.value)


def test_a_reader_changes_nothing(own: OwnFront, served: Served):
    with acting("ada", Role.READER):
        own.check(OF_ADA)
        for ask in (lambda: own.stop(OF_ADA, ""), lambda: own.submit(Submission("search"))):
            with pytest.raises(RefusedError, match="a reader's token"):
                ask()
    assert served.front.asked == []


def test_a_sweep_is_its_submitters(own: OwnFront, served: Served):
    with acting("ada"):
        own.submit(Submission("search", ("name=mine",), user="bob"))
        assert own.names() == [OF_ADA, "mine"]
    assert served.front.asked[-1][1].user == "ada"


def test_nobody_learns_from_somebody_elses_sweep(own: OwnFront):
    with acting("ada"), pytest.raises(RefusedError, match="belongs to another user"):
        own.submit(Submission("search", ("name=mine", f"sampler.warm_start={OF_BOB}")))


def test_more_than_an_equal_part_is_given_by_those_who_see_all(own: OwnFront):
    with acting("ada"):
        for submission in (Submission("search", weight=2.0), Submission("search", priority=1)):
            with pytest.raises(RefusedError, match="weight above 1"):
                own.submit(submission)
    with acting("root", every=True):
        assert own.submit(Submission("search", ("name=mine",), weight=2.0, priority=3)) == "mine"


def test_tokens(served: Served):
    access, book = served.access, served.access._book
    assert access.account(served.tokens["eve"]) == Account("eve", Role.READER)
    assert access.account("") is None and access.account("x") is None and access.account("\udcff") is None
    book.remove("eve")
    # within two seconds a token that was withdrawn elsewhere may still count
    assert access.account(served.tokens["eve"], lambda: time.monotonic() + 2 * REFRESH_S) is None


def test_an_open_service_knows_one_account(served: Served):
    assert Access(served.access._book, served.access.audit, open=True).account("") == LOCAL


def test_a_login_is_a_token_of_its_own(served: Served):
    session = served.access.log_in(served.tokens["ada"])
    assert session is not None and session != served.tokens["ada"]
    assert served.access.account(session) == Account("ada")
    served.access.log_out(session)
    assert served.access.account(session) is None and served.access.account(served.tokens["ada"]) is not None
    assert served.access.log_in("wrong") is None
    assert isinstance(served.access._book, AccountBook)
