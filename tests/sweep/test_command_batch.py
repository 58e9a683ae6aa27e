"""What is durable before what: one batch of commands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rnnsweep.sweep import command_batch
from rnnsweep.sweep.command_batch import ASKS, CommandBatch, OrdersBuilder, merged
from rnnsweep.sweep.events import AskPruner, Exclude, Join, Leave, Prepare, Progressed, ReportRung, Tick
from rnnsweep.sweep.ports import PutReports, PutTrial, PutVerdict, TrialView, WorkerJoined, Write
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, Withdrawal, WorkerInfo
from rnnsweep.sweep.states import TrialState
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler


class Recorder:
    """An executor that notes what reaches it, and when the writes were committed."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def order(self, worker: str, orders: Orders) -> None:
        self.events.append((worker, orders))

    def exclude(self, node: str) -> None:
        self.events.append(node)

    def commit(self, writes: Sequence[Write]) -> None:
        self.events.append([type(write).__name__ for write in writes])


def batch(trials: int = 3, sampler: ScriptedSampler | None = None) -> tuple[CommandBatch, Recorder]:
    memory, _ = rebuild(plan(trials), 1, 0.0, Records())
    recorder = Recorder()
    return CommandBatch(memory, sampler or ScriptedSampler(), recorder), recorder  # type: ignore[arg-type]


def spec(trial: int, token: str = "t") -> RowSpec:
    return RowSpec(trial, 0, token, {}, 10)


def test_writes_are_durable_before_any_worker_hears_and_nodes_are_excluded_before_orders() -> None:
    commands, recorder = batch()
    commands.execute(
        [
            Join("w", spec(0)),
            PutTrial(TrialView(0, TrialState.RUNNING, {})),
            Exclude("bad"),
            Progressed("w", (1, 0), acknowledged=4, decided=3),
            PutVerdict(1, 3, "keep"),
        ]
    )
    assert recorder.events == []
    commands.finish(recorder.commit)
    orders = Orders(join=(spec(0),), decided={(1, 0): 3}, acknowledged={(1, 0): 4})
    assert recorder.events == [["PutTrial", "PutVerdict"], "bad", ("w", orders)]
    commands.finish(recorder.commit)
    assert len(recorder.events) == 3  # said once


def test_nothing_is_committed_and_nothing_ordered_without_need() -> None:
    commands, recorder = batch()
    commands.finish(recorder.commit)
    assert recorder.events == []


def test_a_row_that_joins_and_leaves_in_one_batch_does_neither() -> None:
    builder = OrdersBuilder()
    builder.join.append(spec(0))
    builder.withdraw(Withdrawal(0, 0, "t"))
    builder.withdraw(Withdrawal(1, 0, "t"))
    assert builder.orders() == Orders(leave=(Withdrawal(1, 0, "t"),))
    commands, recorder = batch()
    commands.execute([Join("w", spec(0)), Leave("w", Withdrawal(0, 0, "other"))])
    commands.finish(recorder.commit)
    assert recorder.events == [("w", Orders(join=(spec(0),), leave=(Withdrawal(0, 0, "other"),)))]


def test_what_is_prepared_reaches_the_worker_with_the_verdict_unless_it_is_revoked_in_one_batch() -> None:
    commands, recorder = batch()
    commands.execute([Prepare("w", spec(0)), Prepare("w", spec(1)), PutVerdict(1, 3, "exploit")])
    commands.execute([Leave("w", Withdrawal(0, 0, "t"))])
    commands.finish(recorder.commit)
    assert recorder.events[0] == ["PutVerdict"]
    assert recorder.events[1][1].take == (spec(1),)


def test_verdicts_come_before_what_was_reported_later() -> None:
    sampler = ScriptedSampler(rule=lambda number, step, value: True)
    commands, _ = batch(sampler=sampler)
    commands.execute([ReportRung(7, 10, 0.5, (0.5,)), AskPruner(7, 1, 10)])
    assert sampler.values == {7: [(10, 0.5)]}
    assert sampler.replicas == {}
    commands.take([Tick(1.0, 0.0)])
    assert commands.memory.refused == 1  # the verdict on a trial that the machine does not know reached it


def test_asks_are_answered_within_the_batch() -> None:
    sampler = ScriptedSampler()
    commands, recorder = batch(3, sampler)
    commands.take([Tick(1.0, 0.0)])
    assert sampler.asked == [0, 1]  # the plan's prefetch
    commands.finish(recorder.commit)
    assert recorder.events == [["PutTrial", "PutTrial"]]


def test_an_idle_worker_gets_all_its_rows_at_once_and_results_wait_for_few_asks_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_batch, "IDLE_S", 3600.0)  # whatever else the machine does
    sampler = ScriptedSampler()
    commands, recorder = batch(400, sampler)
    commands.take([WorkerJoined(WorkerInfo("w", "n", "cpu", "", 300)), Tick(1.0, 0.0)])
    commands.finish(recorder.commit)
    [(_, orders)] = [event for event in recorder.events if isinstance(event, tuple)]
    assert len(orders.join) == 300
    asked = len(sampler.asked)
    commands.take([WorkerJoined(WorkerInfo("v", "n", "cpu", "", 300)), Tick(2.0, 0.0)])
    assert len(sampler.asked) == asked + ASKS


def test_neighbouring_reports_are_one_write_and_the_order_of_the_rest_is_kept() -> None:
    one, two, three = (PutReports((RowReport(0, 0, "t", rung, rung, {}),)) for rung in (1, 2, 3))
    verdict = PutVerdict(0, 1, "keep")
    assert merged([one, two, verdict, three]) == [PutReports((*one.reports, *two.reports)), verdict, three]
    assert merged([]) == []
