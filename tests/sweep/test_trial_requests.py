"""Requests on one trial: end it, pause it, let it go on; whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import Asked, Judged, StopAsked, TrialRequest
from rnnsweep.sweep.ports import RungTrained, TrialView, WorkerJoined
from rnnsweep.sweep.rebuild import Records, Reopen, rebuild
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import RowReport, WorkerInfo
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.trial_requests import event_of, outstanding, refusal
from rnnsweep.sweep.verdicts import END
from tests.kit.executor import SimExecutor
from tests.kit.ledger import Killed, kill_at
from tests.kit.plans import plan
from tests.kit.trainer import Faults
from tests.sweep.simulation import World, after


def ask(world: World, kind: str, trial: int, reason: str = "") -> Callable[[], None]:
    return lambda: world.ledger.post("s", kind, {"trial": trial, "reason": reason, "reopened": 0})


def view(world: World, number: int) -> TrialView:
    return world.ledger.trials("s")[number]


def when(world: World, acts: dict[int, Callable[[], Any]]) -> SimExecutor:
    """An executor of one worker that does things from outside at its n-th polls."""

    class Acting(SimExecutor):
        seen = 0

        def poll(self, timeout: float):
            self.seen += 1
            if self.seen in acts:
                acts[self.seen]()
            return super().poll(timeout)

    return Acting(world.trainer, 1)


# ------------------------------------------------------------------ ending


def test_an_ended_trial_is_pruned_at_its_last_rung_with_the_reason_and_the_others_are_as_ever() -> None:
    calm = World(plan(6))
    calm.run()
    world = World(plan(6))
    acting = when(world, {5: ask(world, "end_trial", 1, "hopeless")})
    assert world.run(executor=acting).exit_code == 0
    ended = view(world, 1)
    assert (ended.state, ended.reason) == (TrialState.PRUNED, "ended by request: hopeless")
    assert 0 < ended.rung < 4 and ended.step == 10 * ended.rung
    assert ended.values == calm.ledger.rungs[1, ended.rung].values
    assert (1, ended.rung + 1, END) in world.ledger.verdict_list
    assert [rung for trial, rung in world.ledger.rungs if trial == 1] == list(range(1, ended.rung + 1))
    assert max(report.rung for report in world.ledger.reports("s", 1)) == ended.rung
    assert [row for row in world.table() if row[0] != 1] == [row for row in calm.table() if row[0] != 1]
    # a worker keeps no checkpoint beyond it
    assert max(rung for key, files in world.disk.items() if key[0] == 1 for rung in files) == ended.rung


def test_a_trial_that_never_ran_can_be_ended() -> None:
    world = World(plan(4, replicas=1, prefetch=4), slots=1, workers=1)
    acting = when(world, {2: ask(world, "end_trial", 3)})
    assert world.run(executor=acting).exit_code == 0
    ended = view(world, 3)
    assert (ended.state, ended.reason, ended.attempts, ended.rung) == (TrialState.PRUNED, "ended by request", 0, 0)
    assert ended.values == () and ended.started is not None and ended.finished is not None
    assert world.states()[:3] == [TrialState.COMPLETE] * 3


def test_a_trial_with_a_failed_replica_ends_as_failed_and_may_be_tried_again() -> None:
    """Its other replicas would have trained to their end; a verdict would forbid the rung that comes when it is."""
    bug = Faults(bug=lambda trial, replica, rung: "broken" if (trial, replica, rung) == (0, 0, 2) else "")
    world = World(plan(2, updates=80), faults=bug)
    acting = when(world, {6: ask(world, "end_trial", 0, "no use")})
    assert world.run(executor=acting).exit_code == 1
    assert view(world, 0).state is TrialState.FAILED
    assert view(world, 0).reason == "replica 0: bug: broken; ended by request: no use"
    world.faults = Faults()
    assert world.run(reopen=Reopen(failed=True)).exit_code == 0  # and the request, which was taken, is of its past
    calm = World(plan(2, updates=80))
    calm.run()
    assert world.table() == calm.table()


@pytest.mark.parametrize("kind", ["end_trial", "pause_trial", "unpause_trial"])
def test_requests_that_came_too_late_or_name_no_trial_change_nothing(kind: str, caplog) -> None:
    calm = World(plan(3))
    calm.run()
    world = World(plan(3))
    world.run()
    world.plan = plan(6)
    for trial in (2, 77, "x"):
        world.ledger.post("s", kind, {"trial": trial})
    world.run()
    assert world.states() == [TrialState.COMPLETE] * 6
    assert world.table()[:3] == calm.table()
    assert "request refused: trial 2 has ended" in caplog.text
    assert "request refused: trial 77 does not exist" in caplog.text
    assert "request refused: trial -1 does not exist" in caplog.text


# ------------------------------------------------------------------ pausing


def test_a_paused_trial_holds_no_slot_and_goes_on_from_its_checkpoint() -> None:
    calm = World(plan(6))
    calm.run()
    world = World(plan(6), workers=1)
    seen: list[tuple[TrialState, int]] = []

    def look() -> None:
        memory = world.driver_memory  # type: ignore[attr-defined]
        seen.append((view(world, 1).state, sum(key[0] == 1 for w in memory.workers.values() for key in w.rows)))

    acts = {5: ask(world, "pause_trial", 1, "later"), 7: look, 9: ask(world, "unpause_trial", 1)}
    driver = world.driver(executor=when(world, acts))
    execute = driver._boot

    def boot() -> None:
        execute()
        world.driver_memory = driver._memory  # type: ignore[attr-defined]

    driver._boot = boot  # type: ignore[method-assign]
    assert driver.run().exit_code == 0
    assert seen == [(TrialState.PAUSED, 0)]
    assert world.table() == calm.table()
    assert world.curves() == calm.curves()
    assert world.rungs() == calm.rungs()
    went_on = view(world, 1)
    assert (went_on.charged, went_on.attempts) == (0, 2)
    assert [attempt.outcome for attempt in world.ledger.attempts("s", 1)] == ["paused", "complete"]
    assert any("PAUSED at update" in line and "paused by request: later" in line for line in went_on.history)
    trained = [who for trainer in world.trainers for who in trainer.trained if who[0] == 1]
    assert len(trained) == len(set(trained))  # nothing is trained twice: the checkpoint has the rung in flight


def test_a_sweep_with_paused_trials_only_stops_and_says_how_to_go_on() -> None:
    calm = World(plan(4, updates=80))
    calm.run()
    world = World(plan(4, updates=80))
    outcome = world.run(executor=when(world, {5: ask(world, "pause_trial", 1), 6: ask(world, "pause_trial", 3)}))
    assert (outcome.state, outcome.exit_code) == (SweepState.STOPPED, 3)
    assert outcome.reason == (
        "only paused trials are left: 1, 3; rnnsweep resume s --trial 1 lets one go on, "
        "rnnsweep stop s --trial ends one"
    )
    paused = [state is TrialState.PAUSED for state in world.states()]
    assert paused == [False, True, False, True]
    again = world.run()  # nothing but looking: no worker is started for it
    assert (again.state, again.reason) == (outcome.state, outcome.reason)
    assert world.executor.count == 0
    assert world.run(reopen=Reopen(trials=(1,))).state is SweepState.STOPPED
    assert world.states()[1] is TrialState.COMPLETE
    world.ledger.post("s", "budget", {"trials": 4})  # changes nothing, and is heard before the next
    world.ledger.post("s", "unpause_trial", {"trial": 3})
    assert world.run().exit_code == 0
    assert world.table() == calm.table()
    assert world.rungs() == calm.rungs()


def test_many_paused_trials_are_counted() -> None:
    world = World(plan(12, replicas=1, prefetch=12), slots=12)
    for number in range(12):
        world.ledger.post("s", "pause_trial", {"trial": number})
    outcome = world.run(executor=when(world, {}))
    # they were asked for before anybody could pause them: the requests name trials that did not exist
    assert outcome.exit_code == 0
    world = World(plan(12, replicas=1, prefetch=12), slots=12)
    acts = {3: lambda: [world.ledger.post("s", "pause_trial", {"trial": number}) for number in range(12)]}
    outcome = world.run(executor=when(world, acts))
    assert outcome.reason.startswith("only paused trials are left: 0, 1, 2, 3, 4, 5, 6, 7 and 4 more; ")


def test_paused_trials_do_not_keep_a_model_from_being_asked() -> None:
    """At most 4 trials are open at once; 4 paused ones would leave no place for anybody."""
    world = World(plan(8, replicas=1, in_flight=0.5), slots=8, workers=1)
    acts = {3: lambda: [ask(world, "pause_trial", number)() for number in range(4)]}
    assert world.run(executor=when(world, acts)).state is SweepState.STOPPED
    assert world.states() == [TrialState.PAUSED] * 4 + [TrialState.COMPLETE] * 4


def test_a_paused_trial_can_be_ended() -> None:
    world = World(plan(4, updates=120))
    acts = {5: ask(world, "pause_trial", 1), 8: ask(world, "end_trial", 1, "enough")}
    assert world.run(executor=when(world, acts)).exit_code == 0
    assert view(world, 1).state is TrialState.PRUNED
    assert view(world, 1).reason == "ended by request: enough"


def test_a_wish_of_one_life_is_void_in_the_next() -> None:
    """A request that came when its trial had just failed must not meet it when it is tried again."""
    bug = Faults(bug=lambda trial, replica, rung: "broken" if (trial, rung) == (1, 2) else "")
    world = World(plan(3), faults=bug)
    world.run()
    assert view(world, 1).state is TrialState.FAILED
    world.ledger.post("s", "pause_trial", {"trial": 1, "reopened": 0})
    world.faults = Faults()
    assert world.run(reopen=Reopen(trials=(1,))).exit_code == 0
    assert world.states() == [TrialState.COMPLETE] * 3
    assert view(world, 1).reopened == 1


# ------------------------------------------------------------------ kills


def patient(world: World, acts: list[Callable[[], Any]]) -> SimExecutor:
    """One act per poll once four trials are there; what users had not asked of a dead driver they ask of the next."""

    class Acting(SimExecutor):
        def poll(self, timeout: float):
            if acts and len(world.ledger.trials("s")) >= 4:
                acts.pop(0)()
            return super().poll(timeout)

    return Acting(world.trainer, 1)


def wishes(world: World) -> list[Callable[[], Any]]:
    end = ask(world, "end_trial", 1, "hopeless")
    return [ask(world, "pause_trial", 2), end, ask(world, "pause_trial", 3), ask(world, "unpause_trial", 2)]


@pytest.mark.parametrize("gap", [1, 2])
def test_wishes_survive_a_kill_at_any_commit(gap: int) -> None:
    """Taken requests come to effect once, in whichever session; the other trials are as in a sweep without wishes."""
    sweep = plan(5, updates=60)
    calm = World(sweep)
    calm.run()
    probe = World(sweep)
    probe.run(executor=patient(probe, wishes(probe)))
    assert probe.ledger.commits > 8
    for first in range(1, probe.ledger.commits + 1):
        world, at = World(sweep), first
        acts = wishes(world)
        for _ in range(60):
            world.ledger.before_commit = kill_at(at)
            try:
                outcome = world.run(executor=patient(world, acts))
                break
            except Killed:
                at = world.ledger.commits + gap
        else:
            world.ledger.before_commit = None
            outcome = world.run(executor=patient(world, acts))
        assert (outcome.state, view(world, 3).state) == (SweepState.STOPPED, TrialState.PAUSED)
        assert (view(world, 1).state, view(world, 1).reason) == (TrialState.PRUNED, "ended by request: hopeless")
        assert [entry for entry in world.ledger.verdict_list if entry[2] == END] == [(1, view(world, 1).rung + 1, END)]
        rest = [0, 2, 4]
        assert [world.table()[number] for number in rest] == [calm.table()[number] for number in rest]
        rungs = {key: rung for key, rung in world.rungs().items() if key[0] in rest}
        assert rungs == {key: rung for key, rung in calm.rungs().items() if key[0] in rest}
        world.ledger.before_commit = None
        assert world.run(reopen=Reopen(trials=(3,))).exit_code == 0
        assert world.table()[3] == calm.table()[3]
        assert not any(one.charged for one in world.ledger.trials("s"))


@pytest.mark.parametrize("kind", ["end_trial", "pause_trial"])
def test_a_request_that_died_with_its_driver_is_carried_out_by_the_next(kind: str) -> None:
    """Taken from the inbox in one transaction, killed before the commit that would have shown what came of it."""
    world = World(plan(4))
    driver = world.driver(executor=when(world, {5: ask(world, kind, 1)}))
    taken = driver.ledger.take_requests

    def take(name: str, fence: int):
        requests = taken(name, fence)
        if requests:
            world.ledger.before_commit = kill_at(world.ledger.commits + 1)
        return requests

    driver.ledger.take_requests = take  # type: ignore[method-assign]
    with pytest.raises(Killed):
        driver.run()
    world.ledger.before_commit = None
    world.ledger.take_requests = taken  # type: ignore[method-assign]
    assert not view(world, 1).reason
    world.run()
    assert view(world, 1).state is (TrialState.PRUNED if kind == "end_trial" else TrialState.PAUSED)


# ------------------------------------------------------------------ single steps


def running(replicas: int = 2) -> tuple[SweepMemory, str]:
    """A machine with trial 0 in training on one worker."""
    memory, _ = rebuild(plan(3, replicas=replicas, prefetch=0), 1, 0.0, Records())
    machine.step(memory, WorkerJoined(WorkerInfo("w", "n", "cpu", "", replicas)))
    machine.step(memory, Asked(0, {"x": 1.0}))
    return memory, memory.open[0].token


def rung(token: str, replica: int, number: int) -> RowReport:
    return RowReport(0, replica, token, number, 10 * number, {"valid/error": 0.5})


def test_a_replica_that_was_a_rung_ahead_leaves_nothing_that_counts() -> None:
    memory, token = running()
    for replica, number in ((0, 1), (1, 1)):
        machine.step(memory, RungTrained("w", (rung(token, replica, number),)))
    machine.step(memory, Judged(0, 1, False))
    machine.step(memory, RungTrained("w", (rung(token, 0, 2),)))
    commands = machine.step(memory, TrialRequest("end_trial", 0))
    leaves = [command.withdrawal for command in commands if type(command).__name__ == "Leave"]
    assert [(leave.replica, leave.keep_rung) for leave in leaves] == [(0, 1), (1, 1)]
    verdicts = [(c.rung, c.verdict) for c in commands if type(c).__name__ == "PutVerdict"]
    assert verdicts == [(2, END)]
    # the place is free at once, for the next trial
    assert [c.number for c in commands if type(c).__name__ == "AskSampler"] == [1]
    assert machine.step(memory, RungTrained("w", (rung(token, 1, 2),))) == []


def test_what_a_paused_row_still_reports_comes_again_from_its_checkpoint() -> None:
    memory, token = running(replicas=1)
    machine.step(memory, RungTrained("w", (rung(token, 0, 1),)))
    machine.step(memory, Judged(0, 1, False))
    machine.step(memory, TrialRequest("pause_trial", 0))
    assert machine.step(memory, TrialRequest("pause_trial", 0)) == []
    before = memory.refused
    machine.step(memory, RungTrained("w", (rung(token, 0, 2),)))
    assert memory.refused == before + 1
    commands = machine.step(memory, TrialRequest("unpause_trial", 0))
    assert machine.step(memory, TrialRequest("unpause_trial", 0)) == []
    join = next(command for command in commands if type(command).__name__ == "Join")
    assert (join.spec.restore, join.spec.restore_to) == ((token,), None)
    again = replace(rung(join.spec.token, 0, 1), token=join.spec.token)
    machine.step(memory, RungTrained("w", (again, rung(join.spec.token, 0, 2))))
    assert memory.open[0].rung == 2


def test_wishes_are_heard_while_a_sweep_stops() -> None:
    memory, _ = running()
    machine.step(memory, StopAsked(SweepState.STOPPED, "enough"))
    commands = machine.step(memory, TrialRequest("pause_trial", 0))
    assert memory.open[0].state is TrialState.PAUSED
    assert not any(type(command).__name__ in ("Join", "AskSampler") for command in commands)


def test_the_last_wish_of_a_trial_is_what_is_outstanding() -> None:
    memory, _ = running()
    taken = [
        ("enqueue", {"points": []}),
        ("pause_trial", {"trial": 0}),
        ("unpause_trial", {"trial": 0}),
        ("end_trial", {"trial": 9}),
        ("pause_trial", {"trial": 0, "reopened": 1}),
        ("pause_trial", {}),
    ]
    assert [request.kind for request in outstanding(memory, taken[:3])] == ["unpause_trial"]
    assert outstanding(memory, taken) == []
    ended = [("end_trial", {"trial": 0}), ("pause_trial", {"trial": 0})]
    assert [request.kind for request in outstanding(memory, ended)] == ["end_trial"]
    assert refusal(memory, event_of("end_trial", {"trial": 0, "reopened": 1})) == "trial 0 has been told to go on since"


def test_a_stop_beside_a_wish_leaves_both_done() -> None:
    world = World(plan(4, updates=120))

    def both() -> None:
        ask(world, "pause_trial", 1)()
        world.ledger.post("s", "stop")

    acting = after(6, both)(world.trainer, 1)
    assert world.run(executor=acting).state is SweepState.STOPPED
    assert view(world, 1).state is TrialState.PAUSED
    assert "only paused" in world.run().reason
