"""What every ledger promises, whatever it is made of."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnsweep.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from rnnsweep.errors import ConfigError, FencedError, LockedError, StoreError
from rnnsweep.sweep.ports import (
    AttemptView,
    Ledger,
    PutAttempt,
    PutReports,
    PutRung,
    PutSweep,
    PutTrial,
    PutVerdict,
    SweepView,
    TrialView,
)
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.segments import Segment
from rnnsweep.sweep.states import RowState, SweepState, TrialState
from rnnsweep.sweep.verdicts import END

SWEEP = SweepView("tiny", SweepState.RUNNING, {"task": {"length": 20}, "x": [1, 2.5, None, True]}, ("seed=1",), 1.5)

text = st.text(max_size=20) | st.sampled_from(["", "\x00", "\ud800", "Ω ≥ 0", "$float", "a'b\"c\\", "🧠"])
number = st.floats() | st.integers(-(2**70), 2**70)
scalar = number | text | st.booleans() | st.none()
flat = st.dictionaries(text, scalar, max_size=4)
nested = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
small = st.integers(0, 2**31 - 1)
rungs = itertools.count()
trial_views = st.builds(
    TrialView,
    number=small,
    state=st.sampled_from(TrialState),
    params=flat,
    values=st.lists(st.floats(), max_size=3).map(tuple),
    reason=text,
    token=text,
    started=st.none() | st.floats(),
    step=st.integers(0, 2**60),
    solved_at=st.none() | small,
    diverged_share=st.floats(),
    history=st.lists(text, max_size=3).map(tuple),
    extra=st.dictionaries(text, st.floats(), max_size=2),
)
row_reports = st.builds(
    RowReport,
    trial=small,
    replica=small,
    token=text,
    rung=small,
    step=st.integers(0, 2**60),
    metrics=st.dictionaries(text, st.floats(), max_size=5),
    state=st.sampled_from(RowState),
    solved_at=st.none() | small,
    diverged_at=st.none() | small,
    device_s=st.floats(),
    engine=text,
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store' / 'ledger.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    opened = open_ledger(url, deadline=1.0)
    opened.create(SWEEP)
    yield opened
    opened.close()


@pytest.fixture
def fence(ledger: Ledger) -> int:
    return ledger.acquire("tiny", "test", 0.0)


def report(trial: int, rung: int, replica: int = 0, loss: float = 0.1) -> RowReport:
    return RowReport(trial, replica, f"token-{trial}", rung, 100 * rung, {"valid/loss": loss})


def trial(number: int, state: TrialState = TrialState.WAITING) -> TrialView:
    return TrialView(number, state, {"controllers.clip.threshold": float("inf"), "init.sigma": 0.1})


class TestSweeps:
    def test_comes_back_as_it_was(self, ledger: Ledger) -> None:
        assert ledger.sweep("tiny") == SWEEP
        assert ledger.sweeps() == [SWEEP]

    def test_unknown_is_none_and_its_lists_are_empty(self, ledger: Ledger) -> None:
        assert ledger.sweep("other") is None
        assert ledger.trials("other") == []
        assert ledger.changes("other", 0) == []
        assert ledger.cursor("other", "mlflow") == 0

    def test_writes_to_an_unknown_sweep_name_it(self, ledger: Ledger) -> None:
        with pytest.raises(StoreError, match="no sweep 'other'"):
            ledger.post("other", "stop")

    def test_taken_name_is_refused_with_a_way_out(self, ledger: Ledger) -> None:
        with pytest.raises(ConfigError, match=r"name='tiny'.*resume tiny"):
            ledger.create(dataclasses.replace(SWEEP, config={}))
        assert ledger.sweep("tiny") == SWEEP

    def test_oldest_first(self, ledger: Ledger) -> None:
        ledger.create(dataclasses.replace(SWEEP, name="a"))
        assert [view.name for view in ledger.sweeps()] == ["tiny", "a"]

    def test_survives_reopening(self, ledger: Ledger, fence: int, url: str) -> None:
        ledger.commit("tiny", fence, [PutTrial(trial(0)), PutReports((report(0, 1),))])
        again = open_ledger(url)
        assert again.trials("tiny") == [trial(0)]
        assert again.reports("tiny") == [report(0, 1)]
        again.close()


class TestCommit:
    def test_trials_and_attempts_are_replaced_and_sorted(self, ledger: Ledger, fence: int) -> None:
        first, second = AttemptView(1, "t1", 1, 5.0), AttemptView(1, "t2", 2, 6.0, worker="w", charged=True)
        ledger.commit("tiny", fence, [PutTrial(trial(1)), PutTrial(trial(0)), PutAttempt(second), PutAttempt(first)])
        done = trial(1, TrialState.COMPLETE)
        ended = dataclasses.replace(first, outcome="lost")
        ledger.commit("tiny", fence, [PutTrial(trial(1, TrialState.RUNNING)), PutTrial(done), PutAttempt(ended)])
        assert ledger.trials("tiny") == [trial(0), done]
        assert ledger.attempts("tiny") == [ended, second]
        assert ledger.attempts("tiny", 0) == []

    def test_reports_are_written_once(self, ledger: Ledger, fence: int) -> None:
        ledger.commit("tiny", fence, [PutReports((report(0, 2), report(0, 1, loss=0.5), report(0, 1, loss=0.6)))])
        ledger.commit("tiny", fence, [PutReports((report(0, 1, loss=0.7), report(1, 1), report(0, 1, replica=1)))])
        expected = [report(0, 1, loss=0.5), report(0, 1, replica=1), report(0, 2), report(1, 1)]
        assert ledger.reports("tiny") == expected
        assert ledger.reports("tiny", 0) == expected[:3]

    def test_nothing_counts_beyond_the_verdict_that_pruned(self, ledger: Ledger, fence: int) -> None:
        rows = PutReports(tuple(report(t, r) for t in (0, 1) for r in (1, 2, 3)))
        ledger.commit(
            "tiny", fence, [rows, PutVerdict(0, 1, "keep"), PutVerdict(0, 2, "prune"), PutVerdict(1, 1, "keep")]
        )
        assert [(r.trial, r.rung) for r in ledger.reports("tiny")] == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]

    def test_nothing_counts_of_the_rung_before_which_a_trial_was_ended(self, ledger: Ledger, fence: int) -> None:
        rows = PutReports(tuple(report(t, r) for t in (0, 1, 2) for r in (1, 2, 3)))
        ledger.commit("tiny", fence, [rows, PutVerdict(0, 1, "keep"), PutVerdict(0, 2, END), PutVerdict(1, 1, END)])
        assert [(r.trial, r.rung) for r in ledger.reports("tiny")] == [(0, 1), (2, 1), (2, 2), (2, 3)]
        assert ledger.reports("tiny", 1) == []

    def test_first_verdict_stays(self, ledger: Ledger, fence: int) -> None:
        ledger.commit("tiny", fence, [PutVerdict(3, 1, "keep"), PutVerdict(0, 1, "prune")])
        ledger.commit("tiny", fence, [PutVerdict(3, 1, "prune"), PutVerdict(3, 2, "prune")])
        assert ledger.verdicts("tiny") == [(3, 1, "keep"), (0, 1, "prune"), (3, 2, "prune")]
        assert ledger.verdicts("tiny", 3) == [(3, 1, "keep"), (3, 2, "prune")]

    def test_starts_of_replicas_stand_beside_verdicts_on_rungs(self, ledger: Ledger, fence: int) -> None:
        taken = [
            PutVerdict(0, 3, "keep"),
            PutVerdict(0, 3, "start"),
            PutVerdict(0, 4, "start"),
            PutVerdict(0, 4, "prune"),
        ]
        ledger.commit("tiny", fence, [*taken, PutVerdict(0, 3, "start")])
        assert ledger.verdicts("tiny") == [(0, 3, "keep"), (0, 3, "start"), (0, 4, "start"), (0, 4, "prune")]

    def test_a_pause_is_followed_by_one_promotion_and_no_other_verdict(self, ledger: Ledger, fence: int) -> None:
        ledger.commit("tiny", fence, [PutVerdict(0, 2, "pause"), PutReports((report(0, 1), report(0, 2)))])
        ledger.commit("tiny", fence, [PutVerdict(1, 2, "keep"), PutVerdict(0, 2, "promote")])
        ledger.commit("tiny", fence, [PutVerdict(0, 2, "promote"), PutVerdict(0, 2, "prune")])
        assert ledger.verdicts("tiny") == [(0, 2, "pause"), (1, 2, "keep"), (0, 2, "promote")]
        assert ledger.reports("tiny") == [report(0, 1), report(0, 2)]

    def test_all_or_nothing(self, ledger: Ledger, fence: int) -> None:
        bad = PutVerdict(0, 1, None)  # type: ignore[arg-type]  # refused by the database after the rows before it
        with pytest.raises(StoreError):
            ledger.commit("tiny", fence, [PutTrial(trial(0)), PutReports((report(0, 1),)), bad])
        assert (ledger.trials("tiny"), ledger.reports("tiny"), ledger.changes("tiny", 0)) == ([], [], [])

    def test_sweeps_do_not_mix(self, ledger: Ledger, fence: int) -> None:
        ledger.create(dataclasses.replace(SWEEP, name="other"))
        other = ledger.acquire("other", "test", 0.0)
        ledger.commit("tiny", fence, [PutTrial(trial(0)), PutVerdict(0, 1, "prune"), PutReports((report(0, 1),))])
        ledger.commit("other", other, [PutReports((report(0, 1), report(0, 2)))])
        assert ledger.trials("other") == []
        assert len(ledger.reports("other")) == 2
        with pytest.raises(FencedError):
            ledger.commit("other", fence + 1, [])

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(view=trial_views, row=row_reports, config=st.dictionaries(text, nested, max_size=3))
    def test_everything_round_trips(self, ledger: Ledger, fence: int, view, row, config) -> None:
        sweep = dataclasses.replace(SWEEP, config=config, reason=view.reason, wall_s=row.device_s)
        row = dataclasses.replace(row, rung=next(rungs), trial=7)
        ledger.commit("tiny", fence, [PutTrial(view), PutReports((row,)), PutSweep(sweep)])
        # repr tells -0.0, nan, 1 and True apart
        assert repr(next(t for t in ledger.trials("tiny") if t.number == view.number)) == repr(view)
        assert repr(next(r for r in ledger.reports("tiny", 7) if r.rung == row.rung)) == repr(row)
        assert repr(ledger.sweep("tiny")) == repr(sweep)

    def test_threads(self, ledger: Ledger, fence: int) -> None:
        def work(index: int) -> None:
            for rung in range(10):
                ledger.commit("tiny", fence, [PutReports((report(index, rung),)), PutTrial(trial(index))])
                ledger.renew("tiny", fence)
                ledger.set_cursor("tiny", "mlflow", rung)
                ledger.changes("tiny", 0)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert len(ledger.reports("tiny")) == 40
        assert len(ledger.changes("tiny", 0)) == 40


class TestJournal:
    def test_order_and_content(self, ledger: Ledger, fence: int) -> None:
        rung = PutRung(0, 1, 100, {"valid/loss": 0.25}, (0.25,))
        stopped = dataclasses.replace(SWEEP, state=SweepState.STOPPED)
        running = trial(0, TrialState.RUNNING)
        ledger.commit("tiny", fence, [PutTrial(trial(0)), PutTrial(running), rung, PutReports((report(0, 1),))])
        ledger.commit("tiny", fence, [PutSweep(stopped)])
        changes = ledger.changes("tiny", 0)
        assert [(c.kind, c.trial) for c in changes] == [("trial", 0), ("trial", 0), ("rung", 0), ("sweep", None)]
        assert [TrialView(**c.data) for c in changes[:2]] == [trial(0), running]
        assert changes[2].data == {"rung": 1, "step": 100, "metrics": {"valid/loss": 0.25}, "values": (0.25,)}
        assert SweepView(**changes[3].data) == stopped
        assert sorted({c.seq for c in changes}) == [c.seq for c in changes]
        assert ledger.sweep("tiny") == stopped

    def test_segments_come_back_as_they_were(self, ledger: Ledger, fence: int) -> None:
        taken = Segment(3, 30, {"lr": 0.1, "x": float("inf")}, 5, "taken", ("b", "a"), 2)
        view = dataclasses.replace(trial(0), segments=(taken, Segment(7, 70, {"lr": 0.2}, 4)))
        ledger.commit("tiny", fence, [PutTrial(view)])
        assert ledger.trials("tiny") == [view]
        assert TrialView(**ledger.changes("tiny", 0)[-1].data) == view

    def test_pages(self, ledger: Ledger, fence: int) -> None:
        ledger.commit("tiny", fence, [PutTrial(trial(n)) for n in range(10)])
        assert ledger.newest("tiny") == ledger.changes("tiny", 0)[-1].seq
        assert ledger.newest("other") == 0
        seen, after = [], 0
        while page := ledger.changes("tiny", after, limit=3):
            assert len(page) <= 3
            seen.extend(change.trial for change in page)
            after = page[-1].seq
        assert seen == list(range(10))

    def test_rung_exists_once(self, ledger: Ledger, fence: int) -> None:
        ledger.commit("tiny", fence, [PutRung(0, 1, 100, {"a": 1.0}, (1.0,)), PutRung(0, 1, 100, {"a": 2.0}, (2.0,))])
        ledger.commit("tiny", fence, [PutRung(0, 1, 100, {"a": 3.0}, (3.0,)), PutRung(0, 2, 200, {"a": 4.0}, (4.0,))])
        assert [c.data["values"] for c in ledger.changes("tiny", 0)] == [(1.0,), (4.0,)]

    def test_newest_rungs(self, ledger: Ledger, fence: int) -> None:
        assert ledger.newest_rungs("tiny") == ledger.newest_rungs("other") == []
        rungs = [
            PutRung(trial, rung, 100 * rung, {"a": 0.5}, (float(rung),)) for trial in (3, 0) for rung in (2, 1, 10)
        ]
        ledger.commit("tiny", fence, [PutTrial(trial(5)), *rungs])
        newest = ledger.newest_rungs("tiny")
        assert [(c.trial, c.data["rung"], c.data["step"]) for c in newest] == [(0, 10, 1000), (3, 10, 1000)]
        assert all(change in ledger.changes("tiny", 0) for change in newest)

    def test_cursors(self, ledger: Ledger) -> None:
        assert ledger.cursor("tiny", "mlflow") == 0
        ledger.set_cursor("tiny", "mlflow", 5)
        ledger.set_cursor("tiny", "optuna", 2)
        ledger.set_cursor("tiny", "mlflow", 7)
        assert (ledger.cursor("tiny", "mlflow"), ledger.cursor("tiny", "optuna")) == (7, 2)

    def test_what_a_mirror_cannot_take_is_noted_once_with_its_reason(self, ledger: Ledger, fence: int) -> None:
        ledger.commit("tiny", fence, [PutTrial(trial(0)), PutTrial(trial(1))])
        first, second = ledger.changes("tiny", 0)
        for _ in range(2):
            ledger.skip("tiny", "mlflow", second, "no such name: é")
        ledger.skip("tiny", "optuna", first, "odd")
        assert ledger.skipped("tiny", "mlflow") == {second.seq: "no such name: é"}
        assert ledger.skipped("tiny", "optuna") == {first.seq: "odd"}
        noted = ledger.changes("tiny", second.seq)
        assert [(change.kind, change.trial, change.data["mirror"]) for change in noted] == [
            ("skipped", 1, "mlflow"),
            ("skipped", 0, "optuna"),
        ]


class TestInbox:
    def test_each_request_once_in_order(self, ledger: Ledger, fence: int) -> None:
        ledger.post("tiny", "budget", {"trials": 10, "target": float("-inf")})
        ledger.post("tiny", "stop")
        assert ledger.requests_wait("tiny")
        assert ledger.take_requests("tiny", fence) == [
            ("budget", {"trials": 10, "target": float("-inf")}),
            ("stop", {"fence": fence}),
        ]
        assert not ledger.requests_wait("tiny")
        assert ledger.take_requests("tiny", fence) == []
        ledger.post("tiny", "stop")
        assert ledger.take_requests("tiny", fence) == [("stop", {"fence": fence})]

    def test_a_stop_says_which_driver_it_is_meant_for(self, ledger: Ledger, fence: int) -> None:
        ledger.post("tiny", "stop", {"reason": "enough"})
        ledger.release("tiny", fence)
        later = ledger.acquire("tiny", "another", 0.0)
        ledger.post("tiny", "stop")
        assert ledger.take_requests("tiny", later) == [
            ("stop", {"reason": "enough", "fence": fence}),
            ("stop", {"fence": later}),
        ]

    def test_exactly_once_while_others_post(self, ledger: Ledger, fence: int) -> None:
        taken: list[int] = []
        posted = threading.Event()

        def take() -> None:
            while True:
                last = posted.is_set()
                taken.extend(data["n"] for _, data in ledger.take_requests("tiny", fence))
                if last:
                    return

        taker = threading.Thread(target=take)
        taker.start()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda n: ledger.post("tiny", "n", {"n": n}), range(60)))
        posted.set()
        taker.join()
        assert sorted(taken) == list(range(60))


class TestLock:
    def test_tokens_only_grow(self, ledger: Ledger) -> None:
        fences = []
        for _ in range(3):
            fences.append(ledger.acquire("tiny", "test", 0.0))
            ledger.release("tiny", fences[-1])
        assert fences == sorted(set(fences))

    def test_second_driver_is_told_who_holds_it(self, ledger: Ledger, fence: int, url: str) -> None:
        second = open_ledger(url)
        with pytest.raises(LockedError, match=r"'tiny'.*test, pid \d+ on ") as caught:
            second.acquire("tiny", "second", 0.3)
        assert caught.value.exit_code == 4
        ledger.commit("tiny", fence, [PutTrial(trial(0))])
        second.close()

    def test_released_token_is_refused(self, ledger: Ledger, fence: int) -> None:
        ledger.release("tiny", fence)
        for act in (ledger.renew, ledger.take_requests):
            with pytest.raises(FencedError):
                act("tiny", fence)
        with pytest.raises(FencedError):
            ledger.commit("tiny", fence, [PutTrial(trial(0))])
        assert ledger.trials("tiny") == []

    def test_late_release_of_an_old_token_frees_nothing(self, ledger: Ledger, fence: int) -> None:
        ledger.release("tiny", fence)
        newer = ledger.acquire("tiny", "newer", 0.0)
        ledger.release("tiny", fence)
        ledger.renew("tiny", newer)

    def test_waits_for_release(self, ledger: Ledger, fence: int, url: str) -> None:
        second = open_ledger(url)
        timer = threading.Timer(0.4, ledger.release, ("tiny", fence))
        timer.start()
        assert second.acquire("tiny", "second", 5.0) > fence
        timer.join()
        second.close()

    def test_living_holder_keeps_it_beyond_the_deadline(self, ledger: Ledger, fence: int, url: str) -> None:
        second, done = open_ledger(url, deadline=1.0), threading.Event()

        def beat() -> None:
            while not done.wait(0.2):
                ledger.renew("tiny", fence)

        heart = threading.Thread(target=beat)
        heart.start()
        with pytest.raises(LockedError):
            second.acquire("tiny", "second", 2.5)
        done.set()
        heart.join()
        second.close()
