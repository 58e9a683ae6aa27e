"""What a driver does with mirrors: stores that are written beside a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from rnnsweep.errors import StoreError
from rnnsweep.sweep.mirroring import MirrorThread
from rnnsweep.sweep.ports import Change, TrialView
from rnnsweep.sweep.session import Pace
from rnnsweep.sweep.states import SweepState
from tests.kit.clock import FakeClock
from tests.kit.executor import SimExecutor
from tests.kit.ledger import MemoryLedger
from tests.kit.plans import plan
from tests.sweep.simulation import STILL, World


class ListMirror:
    name, batch = "list", 7

    def __init__(self, fail: int = 0, known: bool = True) -> None:
        self.got: list[int] = []
        self.fail, self.closed, self._known = fail, False, known

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        self.compared = sum(len(changes) for changes in batches)
        return self._known

    def start_over(self) -> None:
        self.got.clear()

    def write(self, changes: Sequence[Change]) -> None:
        if self.fail:
            self.fail -= 1
            raise StoreError("list", "away")
        self.got += [change.seq for change in changes]

    def close(self) -> None:
        self.closed = True


def test_mirrors_write_beside_what_is_done_with_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """They look at the journal as soon as the session is over, not when their next look is due."""
    order: list[str] = []
    monkeypatch.setattr(MirrorThread, "hurry", lambda self: order.append("hurry"))
    World(plan(1)).run(mirrors=(ListMirror(),), pace=STILL, on_result=lambda outcome: order.append("result"))
    assert order[:2] == ["hurry", "result"]


def test_mirrors_catch_up_and_see_every_entry_once() -> None:
    world, mirror = World(plan(5)), ListMirror(fail=1)
    pace = Pace(renew=0.0, drain=10_000.0, away=10_000.0)
    outcome = world.run(mirrors=(mirror,), pace=pace, clock=FakeClock(tick=0.01))
    assert outcome.behind == ()
    assert mirror.got == [change.seq for change in world.ledger.journal]
    assert mirror.closed
    more = ListMirror()
    world.run(mirrors=(more,), pace=Pace(renew=0.0, drain=10_000.0))
    assert more.got[0] == mirror.got[-1] + 1


def test_a_mirror_whose_store_was_removed_is_written_anew() -> None:
    world = World(plan(5))
    world.run(mirrors=(ListMirror(),), pace=Pace(renew=0.0, drain=10_000.0))
    empty = ListMirror(known=False)
    world.run(mirrors=(empty,), pace=Pace(renew=0.0, drain=10_000.0))
    assert empty.got == [change.seq for change in world.ledger.journal]
    assert world.ledger.cursors["list"] == empty.got[-1]


def test_a_mirror_that_stays_away_delays_nothing_and_is_named() -> None:
    world = World(plan(5))
    outcome = world.run(mirrors=(ListMirror(fail=10**9),), pace=STILL)
    assert (outcome.exit_code, outcome.behind) == (0, ("list",))
    assert world.ledger.cursors == {}


def test_the_result_comes_before_mirrors_are_waited_for() -> None:
    world, told = World(plan(5)), []
    pace = Pace(renew=0.0, drain=10_000.0, away=10_000.0)
    driver = world.driver(mirrors=(ListMirror(fail=10**9),), pace=pace)
    driver.on_result = lambda outcome: told.append(f"{outcome.state.value} {outcome.exit_code}")
    driver.on_wait = told.append
    outcome = driver.run()
    assert told[0] == "COMPLETE 0"
    assert any("list is away (list: away), at most" in line for line in told[1:])
    assert (outcome.exit_code, outcome.behind) == (0, ("list",))


def test_what_a_mirror_cannot_take_ends_in_a_code_that_scripts_notice() -> None:
    class Choosy(ListMirror):
        def write(self, changes: Sequence[Change]) -> None:
            if any(change.kind == "trial" and change.trial == 2 for change in changes):
                raise ValueError("no such name")
            super().write(changes)

    world, mirror = World(plan(5)), Choosy()
    outcome = world.run(mirrors=(mirror,), pace=Pace(renew=0.0, drain=10_000.0))
    assert (outcome.state, outcome.exit_code, outcome.behind) == (SweepState.COMPLETE, 1, ())
    assert set(outcome.refused) == {"list: trial 2: ValueError: no such name"}
    assert {c.seq for c in world.ledger.journal if c.kind == "trial" and c.trial == 2} == set(
        world.ledger.skipped("s", "list")
    )
    again = world.run(mirrors=(Choosy(),), pace=Pace(renew=0.0, drain=10_000.0))
    assert (again.exit_code, again.refused) == (0, ())


class Away:
    """A mirror whose server does not answer."""

    name, batch = "away", 1

    def write(self, changes: Sequence[Change]) -> None:
        raise StoreError("away", "no answer")

    def holds(self, written: Iterable[Sequence[Change]]) -> bool:
        return True

    def start_over(self) -> None: ...

    def close(self) -> None: ...


def test_ctrl_c_while_the_result_is_shown_ends_the_wait_and_keeps_the_exit_code() -> None:
    world = World(plan(2))

    def impatient(outcome: object) -> None:
        raise KeyboardInterrupt

    driver = world.driver()
    driver.on_result = impatient
    outcome = driver.run()
    assert (outcome.state, outcome.exit_code, outcome.at_once) == (SweepState.COMPLETE, 0, True)


def test_interrupted_twice_stops_at_once() -> None:
    import signal

    world = World(plan(4))

    class Stuck(SimExecutor):
        def stop(self, graceful: bool) -> None:
            super().stop(graceful)
            if graceful:
                signal.raise_signal(signal.SIGINT)

    class Acting(Stuck):
        seen = 0

        def poll(self, timeout: float):
            self.seen += 1
            if self.seen == 6:
                signal.raise_signal(signal.SIGINT)
            return super().poll(timeout)

    driver = world.driver(executor=Acting(world.trainer, 1), mirrors=[Away()])
    driver.on_wait = lambda text: pytest.fail(text)
    outcome = driver.run()
    assert (outcome.state, outcome.exit_code, outcome.at_once) == (SweepState.INTERRUPTED, 3, True)
    assert outcome.behind == ("away",)
    assert "twice" in outcome.reason
    assert world.run().exit_code == 0


def test_mirrors_that_never_began_are_not_waited_for() -> None:
    """A resume that could not read its ledger waited two minutes for mirrors before it said so."""

    class Damaged(MemoryLedger):
        def trials(self, name: str) -> list[TrialView]:
            raise StoreError("ledger", "a row is damaged")

    said: list[str] = []
    world = World(plan(1), ledger=Damaged())
    outcome = world.run(mirrors=(ListMirror(),), pace=Pace(renew=0.0, drain=10_000.0), on_wait=said.append)
    assert (outcome.exit_code, outcome.reason) == (1, "ledger: a row is damaged")
    assert said == []
