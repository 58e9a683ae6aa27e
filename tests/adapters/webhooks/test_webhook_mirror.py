"""Messages from the journal to a real server: in order, none lost, twice only after a kill and then by the same id."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rnnsweep.adapters.webhooks.messages import Wanted
from rnnsweep.adapters.webhooks.webhook_mirror import Receiver, WebhookMirror
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.clock import SystemClock
from rnnsweep.sweep.mirroring import MirrorThread, drain, up_to_date
from tests.kit import receiver as server
from tests.kit.clock import FakeClock
from tests.kit.demo_sweep import VIEW, make_plan, story
from tests.kit.ledger import MemoryLedger

ALL = ("end", "failure", "divergence", "best")
TOLD = [("best", 0), ("failure", 2), ("failure", 3), ("best", 3), ("end", None)]


@pytest.fixture
def receiver() -> Iterator[server.Receiver]:
    with server.receiving() as one:
        yield one


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.sweep_views["demo"] = VIEW
    ledger.journal = story()
    return ledger


def mirror(receiver: server.Receiver, timeout: float = 5.0, form: str = "generic") -> WebhookMirror:
    return WebhookMirror(Receiver("notify-0", form, lambda: receiver.url, timeout), VIEW, make_plan(), Wanted(ALL))


def thread(ledger: MemoryLedger, one: WebhookMirror) -> MirrorThread:
    return MirrorThread(ledger, "demo", one, FakeClock())  # type: ignore[arg-type]


def told(receiver: server.Receiver) -> list[tuple[str, int | None]]:
    return [(got["event"], got["trial"]) for got in receiver.got]


def exhaust(tail: MirrorThread) -> None:
    while tail.pump():
        pass


def test_everything_is_told_in_order_and_once(ledger, receiver):
    exhaust(thread(ledger, mirror(receiver)))
    assert told(receiver) == TOLD
    exhaust(thread(ledger, mirror(receiver)))
    assert len(receiver.got) == 5 and up_to_date(ledger, "demo", mirror(receiver))


def test_a_later_session_knows_what_was_best_before(ledger, receiver):
    journal, ledger.journal = ledger.journal, ledger.journal[:-4]
    exhaust(thread(ledger, mirror(receiver)))
    ledger.journal = journal
    exhaust(thread(ledger, mirror(receiver)))
    assert told(receiver) == TOLD
    assert receiver.got[-1]["trials"]["complete"] == 2


def test_an_outage_delays_and_doubles_nothing(ledger, receiver):
    receiver.answers = [200, 503, 503, 200, 429]
    tail = thread(ledger, mirror(receiver))
    for _ in range(3):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1 answers"):
            tail.pump()
        assert not ledger.cursors.get("notify-0")
    exhaust(tail)
    assert told(receiver) == TOLD
    assert len(set(receiver.asked)) == 5 and len(receiver.asked) == 8


def test_a_kill_before_the_cursor_moved_repeats_under_the_same_ids(ledger, receiver):
    mirror(receiver).write(ledger.journal)  # and dies: the ledger heard nothing of it
    first = [got["id"] for got in receiver.got]
    exhaust(thread(ledger, mirror(receiver)))
    assert [got["id"] for got in receiver.got] == first * 2
    assert receiver.got[:5] == receiver.got[5:]


@pytest.mark.parametrize("event", ["best", "failure", "end"])
def test_one_that_is_refused_is_noted_and_the_others_are_told(ledger, receiver, event):
    receiver.refuse = {event: 404}
    tail = thread(ledger, mirror(receiver))
    exhaust(tail)
    assert told(receiver) == [item for item in TOLD if item[0] != event]
    count = sum(item[0] == event for item in TOLD)
    assert [reason for _, reason in tail.refused] == ["RefusedError: 127.0.0.1 answers 404"] * count
    assert len(receiver.asked) <= 5 + 2 * count  # looked for without being sent at every halving
    assert up_to_date(ledger, "demo", mirror(receiver))


def test_a_receiver_that_hangs_delays_only_its_own_thread(ledger, receiver):
    receiver.delay = 0.3
    tail = MirrorThread(ledger, "demo", mirror(receiver), SystemClock())  # type: ignore[arg-type]
    begin = time.monotonic()
    tail.start()
    assert time.monotonic() - begin < 0.2
    assert drain([tail], SystemClock(), (20.0, 1.0), lambda text: None) == []
    assert told(receiver) == TOLD


def test_one_that_is_away_at_the_end_is_waited_for_as_long_as_is_said_and_named(ledger, receiver):
    receiver.answers = [500] * 1000
    tail = MirrorThread(ledger, "demo", mirror(receiver), SystemClock())  # type: ignore[arg-type]
    tail.start()
    begin = time.monotonic()
    assert drain([tail], SystemClock(), (60.0, 0.5), lambda text: None) == ["notify-0"]
    assert time.monotonic() - begin < 10 and "SECRET" not in str(tail.error)
    receiver.answers = []
    exhaust(thread(ledger, mirror(receiver)))
    assert told(receiver) == TOLD


def test_without_its_address_it_is_behind_and_says_which_variable(ledger, receiver):
    def missing() -> str:
        raise ConfigError("the variable HOOK is not set", key="notify.0.url", value="${oc.env:HOOK}")

    away = WebhookMirror(Receiver("notify-0", "generic", missing), VIEW, make_plan(), Wanted(ALL))
    with pytest.raises(StoreError, match="HOOK is not set"):
        thread(ledger, away).pump()
    exhaust(thread(ledger, mirror(receiver)))
    assert told(receiver) == TOLD


def test_slack_gets_a_text(ledger, receiver):
    exhaust(thread(ledger, mirror(receiver, form="slack")))
    assert [list(got) for got in receiver.got] == [["text"]] * 5
    assert receiver.got[-1]["text"].startswith("Sweep demo: COMPLETE. Best: trial 3")
