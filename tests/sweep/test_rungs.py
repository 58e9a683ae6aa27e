"""From reports to rungs, verdicts and results: one trial, step by step."""

from __future__ import annotations

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import Asked, AskPruner, Command, Judged, Progressed, ReportRung, TellSampler
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import PutReports, PutRung, PutTrial, PutVerdict, RungTrained, WorkerJoined
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.records import SweepMemory, token
from rnnsweep.sweep.rows import RowReport, WorkerInfo
from rnnsweep.sweep.rungs import remember_best
from rnnsweep.sweep.states import RowState, TrialState
from rnnsweep.sweep.views import TrialView
from tests.kit.plans import plan

TOKEN = token("s", 0, 1, 1)


def training(**changes) -> SweepMemory:
    """A sweep of one trial whose rows train on one worker."""
    memory, _ = rebuild(plan(1, **changes), 1, 0.0, Records())
    machine.step(memory, WorkerJoined(WorkerInfo("w", "n", "cpu", "", 4)))
    machine.step(memory, Asked(0, {"x": 1.0}))
    return memory


def trained(memory: SweepMemory, replica: int, rung: int, error: float, **fields) -> list[Command]:
    metrics = {"valid/error": error}
    return machine.step(memory, RungTrained("w", (RowReport(0, replica, TOKEN, rung, 10 * rung, metrics, **fields),)))


def of(kind: type, commands: list[Command]) -> list:
    return [command for command in commands if isinstance(command, kind)]


def test_a_rung_exists_when_all_replicas_have_it_and_asks_the_pruner_after_the_report() -> None:
    memory = training()
    assert of(PutRung, trained(memory, 0, 1, 0.2)) == []
    commands = trained(memory, 1, 1, 0.4)
    [rung] = of(PutRung, commands)
    assert (rung.rung, rung.step, rung.metrics["objective"]) == (1, 10, rung.values[0])
    assert abs(rung.values[0] - 0.3) < 1e-15
    kinds = [type(command) for command in commands if isinstance(command, ReportRung | AskPruner)]
    assert kinds == [ReportRung, AskPruner]


def test_reports_beyond_an_open_verdict_are_neither_stored_nor_acknowledged() -> None:
    memory = training(replicas=1)
    first = trained(memory, 0, 1, 0.2)
    assert [report.rung for write in of(PutReports, first) for report in write.reports] == [1]
    assert of(PutReports, trained(memory, 0, 2, 0.2)) == []
    kept = machine.step(memory, Judged(0, 1, False))
    assert [write.verdict for write in of(PutVerdict, kept)] == ["keep"]
    assert [report.rung for write in of(PutReports, kept) for report in write.reports] == [2]
    assert (of(Progressed, kept)[0].acknowledged, of(Progressed, kept)[0].decided) == (2, 1)


def test_a_repeated_report_is_acknowledged_again_and_changes_nothing() -> None:
    memory = training(replicas=1)
    trained(memory, 0, 1, 0.2)
    before = memory.spent.updates
    commands = trained(memory, 0, 1, 0.9)
    assert [type(command) for command in commands] == [Progressed]
    assert memory.spent.updates == before == 10


def test_a_solved_replica_keeps_its_value_while_the_other_trains_on() -> None:
    memory = training()
    trained(memory, 0, 1, 0.0, state=RowState.SOLVED, solved_at=7)
    trained(memory, 1, 1, 0.8)
    machine.step(memory, Judged(0, 1, False))
    [rung] = of(PutRung, trained(memory, 1, 2, 0.4))
    assert rung.values == (0.2,)
    for number, state in ((3, RowState.ACTIVE), (4, RowState.DONE)):
        machine.step(memory, Judged(0, number - 1, False))
        commands = trained(memory, 1, number, 0.4, state=state)
    views = [write.view for write in of(PutTrial, commands)]
    assert [(view.state, view.values, view.solved_at) for view in views] == [(TrialState.COMPLETE, (0.2,), 7)]
    assert of(TellSampler, commands)[0].view == views[0]
    assert memory.open == {}


def test_a_rung_without_news_about_the_objective_asks_nobody() -> None:
    memory = training(replicas=1, objectives=(Objective("valid/loss"),))
    commands = trained(memory, 0, 1, 0.2)
    assert of(ReportRung, commands) == of(AskPruner, commands) == []
    assert memory.open[0].rung == 1


def test_a_trial_is_marked_by_the_rungs_that_count_and_at_once() -> None:
    memory = training(replicas=1)
    assert memory.open[0].view().fingerprints is None
    trained(memory, 0, 1, 0.2)
    commands = [*trained(memory, 0, 2, 0.2, fingerprint=1), *machine.step(memory, Judged(0, 1, False))]
    [view] = [write.view for write in of(PutTrial, commands)]
    assert (view.fingerprints, view.state) == ((0, 1), TrialState.RUNNING)
    assert view.history[-1] == "trained under changed code or data up to update 20: fingerprints 0, 1"
    machine.step(memory, Judged(0, 2, False))
    assert of(PutTrial, trained(memory, 0, 3, 0.2, fingerprint=1)) == []  # once


def test_a_trial_of_one_code_is_not_mixed_whichever_it_is() -> None:
    memory = training(replicas=1)
    assert of(PutTrial, trained(memory, 0, 1, 0.2, fingerprint=2)) == []
    assert memory.open[0].view().fingerprints == (2,)


def test_of_equals_the_first_to_solve_is_the_best_then_the_lower_number_and_ties_are_counted() -> None:
    memory = training()
    ended = [(4, 0.5, None), (2, 0.5, 90), (3, 0.5, 40), (1, 0.6, 10)]
    for number, value, solved in ended:
        remember_best(memory, TrialView(number, TrialState.COMPLETE, {}, (value,), solved_at=solved))
    assert memory.best is not None
    assert (memory.best.number, memory.best.value, memory.best.tied) == (3, 0.5, 2)
    remember_best(memory, TrialView(7, TrialState.COMPLETE, {}, (0.4,)))
    assert (memory.best.number, memory.best.tied) == (7, 0)
    remember_best(memory, TrialView(8, TrialState.COMPLETE, {}, ()))
    remember_best(memory, TrialView(6, TrialState.COMPLETE, {}, (0.4,)))
    assert (memory.best.number, memory.best.tied) == (6, 1)
