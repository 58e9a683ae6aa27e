"""What users ask of a running sweep, and what a raised budget does to finished trials."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.rows import WorkerInfo
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState, TrialState
from tests.kit.executor import SimExecutor
from tests.kit.ledger import Killed, kill_at
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults, SimTrainer
from tests.sweep.simulation import World, after


def test_enqueued_points_are_tried_next_and_count_towards_the_budget() -> None:
    world = World(plan(20))
    driver = world.driver()
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}, {"x": 0.25}]})
    world.ledger.post("s", "enqueue", {"points": [{"y": 1}]})  # refused, with a warning
    assert driver.run().exit_code == 0
    params = [view.params["x"] for view in world.ledger.trials("s")]
    assert len(params) == 20
    assert params.count(0.125) == params.count(0.25) == 1


def test_enqueued_points_survive_the_driver() -> None:
    points = [{"x": (n + 1) / 64} for n in range(6)]
    killed: list[int] = []
    for at in (3, 6, 9):
        world = World(plan(12), slots=2, workers=1)
        driver = world.driver()
        world.ledger.post("s", "enqueue", {"points": points})
        world.ledger.before_commit = kill_at(at)
        try:
            driver.run()
        except Killed:
            killed.append(at)
        world.ledger.before_commit = None
        world.run()
        params = [view.params["x"] for view in world.ledger.trials("s")]
        assert len(params) == 12
        assert all(params.count(point["x"]) == 1 for point in points)
    assert killed == [3, 6, 9]


def test_an_extended_trial_goes_on_from_an_update_that_ends_no_whole_rung() -> None:
    """Budget 25 with rungs of 10, raised to 40: the rungs end at 10, 20, 25, 40, and no replica is skipped."""
    world = World(plan(3, updates=25))
    assert world.run().exit_code == 0
    before = [view.values[0] for view in world.ledger.trials("s")]
    world.plan = plan(3, updates=40)
    assert world.run(reopen=Reopen(extend=True)).exit_code == 0
    for view, value in zip(world.ledger.trials("s"), before, strict=True):
        assert (view.state, view.step, view.rung) == (TrialState.COMPLETE, 40, 4)
        assert view.extra == {"objective@25": value}
    steps = [report.step for key, report in sorted(world.ledger.row_reports.items()) if key[:2] == (0, 0)]
    assert steps == [10, 20, 25, 40]
    plain = World(plan(3, updates=40))
    plain.run()
    assert [v.values for v in world.ledger.trials("s")] == [v.values for v in plain.ledger.trials("s")]


def test_another_type_of_processor_is_warned_about(caplog) -> None:
    world = World(plan(3))
    world.run()
    assert world.ledger.sweep("s").config["processors"] == ["simulated"]  # type: ignore[union-attr]
    assert "last bits" not in caplog.text
    world.plan = plan(6)

    class Other(SimTrainer):
        def describe(self) -> WorkerInfo:
            return replace(super().describe(), processor="another")

    world.run(executor=SimExecutor(lambda worker: Other(worker, world.disk), 1))
    assert "a another, this sweep has trained on simulated" in caplog.text


def numbers_of(world: World, *points: float) -> list[int]:
    """Trials that took these points."""
    return [view.number for view in world.ledger.trials("s") if view.enqueued and view.params["x"] in points]


def started(world: World) -> list[int]:
    """Trials in the order in which their first attempt began."""
    attempts = [view for view in world.ledger.attempts("s") if view.number == 1]
    return [view.trial for view in sorted(attempts, key=lambda view: view.started)]


def test_enqueued_points_go_before_trials_that_were_asked_for_ahead() -> None:
    world = World(plan(12, replicas=1, prefetch=6), slots=1, workers=1)
    acting = after(3, lambda: world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}, {"x": 0.25}]}))
    assert world.run(executor=acting(world.trainer, 1)).exit_code == 0
    assert started(world)[1:3] == numbers_of(world, 0.125, 0.25)  # next after the one in training
    assert len(world.states()) == 12


def test_points_enqueued_for_a_complete_sweep_come_first_when_it_goes_on() -> None:
    world = World(plan(3, prefetch=2))
    world.run()
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}, {"x": 0.25}]})
    outcome = world.run()
    assert (outcome.exit_code, len(world.states())) == (0, 3)
    assert outcome.reason == "all 3 trials finished; enqueued points wait for a larger budget.trials: 2"
    world.plan = plan(6, prefetch=2)
    assert world.run().reason == "all 6 trials finished"
    assert numbers_of(world, 0.125, 0.25) == [3, 4]


def test_enqueued_points_are_tried_though_the_space_is_used_up() -> None:
    sampler = ScriptedSampler(point=lambda number: {"x": 0.1 * number} if number < 3 else None)
    world = World(plan(None, replicas=1, prefetch=2), slots=1, workers=1)
    acting = after(3, lambda: world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}]}))
    assert world.run(executor=acting(world.trainer, 1), sampler=sampler).reason == "the space is used up: 4 trials"
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.25}]})
    nothing = ScriptedSampler(point=lambda number: None)
    assert world.run(sampler=nothing).reason == "the space is used up: 5 trials"
    assert [view.number for view in world.ledger.trials("s")] == list(range(5))
    assert len(numbers_of(world, 0.125, 0.25)) == 2


def test_a_point_that_the_sampler_proposed_by_itself_takes_no_enqueued_point_away() -> None:
    world = World(plan(2))
    world.run(sampler=ScriptedSampler(point=lambda number: {"x": 0.5}))
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.5}]})
    world.plan = plan(3)
    world.ledger.before_commit = kill_at(world.ledger.commits + 1)
    with pytest.raises(Killed):
        world.run()
    world.ledger.before_commit = None
    world.run()
    assert numbers_of(world, 0.5) == [2]


def test_a_stop_is_meant_for_the_driver_that_held_the_sweep() -> None:
    world = World(plan(6))
    driver = world.driver()
    world.ledger.post("s", "stop")  # and the driver dies before it looks
    assert world.run().exit_code == 0  # another one goes on
    assert world.states() == [TrialState.COMPLETE] * 6
    world.plan = plan(8)
    driver = world.driver()
    world.ledger.post("s", "stop")
    assert driver.run().state is SweepState.STOPPED


def test_a_used_up_space_is_said_once(caplog) -> None:
    three = Space((Dimension("x", "categorical", choices=(0.1, 0.2, 0.3)),))
    sampler = ScriptedSampler(point=lambda number: {"x": (0.1, 0.2, 0.3)[number % 3]})
    world = World(plan(3, space=three))
    world.run(sampler=sampler)
    assert "every point" not in caplog.text
    world.plan = plan(9, space=three)
    world.run(sampler=ScriptedSampler(point=sampler.point))
    assert caplog.text.count("every point of the search space has been tried (3 in all)") == 1


def test_an_empty_space_is_said(caplog) -> None:
    world = World(plan(3, space=Space()))
    world.run(sampler=ScriptedSampler(point=lambda number: {}))
    assert "every point of the search space has been tried (1 in all)" in caplog.text


def test_raised_updates_alone_extend_nothing_and_say_what_would(caplog) -> None:
    world = World(plan(3, updates=20))
    world.run()
    world.plan = plan(3, updates=40)
    assert world.run().exit_code == 0
    assert "complete trials that end before budget.updates=40: 3; with --extend they go on" in caplog.text


@pytest.mark.parametrize("share", [None, 0.25, 0.5])
def test_trials_are_asked_for_in_stages_and_say_how_many_results_were_known(share: float | None) -> None:
    world = World(plan(24, replicas=1, in_flight=share), slots=64, workers=1)
    seen: list[int] = []

    class Counting(SimExecutor):
        def poll(self, timeout: float):
            seen.append(sum(not view.state.finished for view in world.ledger.trials("s")))
            return super().poll(timeout)

    assert world.run(executor=Counting(world.trainer, 1)).exit_code == 0
    assert max(seen) == {None: 24, 0.25: 6, 0.5: 12}[share]
    informed = [view.informed_by for view in world.ledger.trials("s")]
    most = max(seen)
    assert all(number - most < count <= number for number, count in enumerate(informed)) or most == 24
    assert (sum(count > 0 for count in informed) >= 24 - most) is (share is not None) or most == 24


def test_a_sweep_without_a_result_is_not_complete() -> None:
    bug = Faults(bug=lambda trial, replica, rung: f"{'abc'[trial]} is broken")
    world = World(plan(2), faults=bug)
    outcome = world.run()
    assert (outcome.state, outcome.exit_code) == (SweepState.FAILED, 1)
    assert outcome.reason == "no trial is complete: 2 failed, 0 pruned"
    assert world.run().state is SweepState.FAILED  # failed trials try again only when asked
    world.faults = Faults()
    assert world.run(reopen=Reopen(failed=True)).state is SweepState.COMPLETE


def test_a_limit_before_the_first_result_stops_a_sweep() -> None:
    world = World(plan(30, device_s=0.002))
    outcome = world.run()
    assert (outcome.state, outcome.exit_code) == (SweepState.STOPPED, 3)
    assert TrialState.COMPLETE not in world.states()
    world.plan = plan(30)
    assert world.run().state is SweepState.COMPLETE
