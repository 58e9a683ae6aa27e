"""What a finished sweep leaves to do is found out without a driver, and is what a driver finds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.nothing_left import Idle, idle
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.states import SweepState
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults
from tests.sweep.simulation import World, after


def finished(**faults) -> World:
    world = World(plan(4), faults=Faults(**faults))
    world.run()
    return world


def limited(points: int) -> ScriptedSampler:
    """Its space is used up after so many points."""
    return ScriptedSampler(lambda number: {"x": number / 10} if number < points else None)


def look(
    world: World, reopen: Reopen | None = None, sampler: ScriptedSampler | None = None, driven: bool = False
) -> Idle | None:
    """As a resume looks; it must neither write nor take anything."""
    world.ledger.driven = lambda name: driven  # type: ignore[method-assign]
    commits, journal, inbox = world.ledger.commits, list(world.ledger.journal), list(world.ledger.inbox)
    found = idle(world.ledger, world.plan, reopen, lambda: sampler or ScriptedSampler())
    assert (world.ledger.commits, world.ledger.journal, world.ledger.inbox) == (commits, journal, inbox)
    return found


def test_a_complete_sweep_is_idle_for_the_reason_that_its_driver_would_give() -> None:
    world = finished()
    found = look(world)
    assert found is not None
    assert (found.view.state, found.reason, found.failed) == (SweepState.COMPLETE, "all 4 trials finished", 0)
    assert world.run().reason == found.reason


def test_failed_trials_are_idle_until_somebody_wants_them() -> None:
    world = finished(bug=lambda trial, replica, rung: "no" if trial == 1 else "")
    found = look(world)
    assert found is not None
    assert (found.view.state, found.failed) == (SweepState.COMPLETE, 1)
    assert look(world, Reopen(failed=True)) is None
    assert look(world, Reopen(trials=(1,))) is None
    with pytest.raises(ConfigError, match=r"--trial=.*: no such trial"):
        look(world, Reopen(trials=(9,)))


def test_a_sweep_without_a_complete_trial_is_idle_and_failed() -> None:
    found = look(finished(refused=lambda params: "no"))
    assert found is not None
    assert (found.view.state, found.reason) == (SweepState.FAILED, "no trial is complete: 4 failed, 0 pruned")


@pytest.mark.parametrize("limits", [{"trials": 5}, {"updates": 60}])
def test_a_larger_budget_is_work(limits: dict[str, int]) -> None:
    world = finished()
    world.plan = replace(world.plan, budget=replace(world.plan.budget, **limits))
    assert look(world, Reopen(extend="updates" in limits)) is None


@pytest.mark.parametrize("request_", ["stop", "budget", "enqueue"])
def test_a_request_that_waits_is_work(request_: str) -> None:
    world = finished()
    world.ledger.post("s", request_, {"trials": 5, "points": [{"x": 0.25}]})
    assert look(world) is None


def test_points_that_wait_for_a_larger_budget_are_said() -> None:
    world = World(plan(4))
    world.run(executor=after(1, lambda: world.ledger.post("s", "enqueue", {"points": [{"x": 0.5}] * 9}))(world.trainer))
    found = look(world)
    assert found is not None
    assert found.reason == world.run().reason
    assert "enqueued points wait for a larger budget.trials" in found.reason


def test_a_sweep_that_was_stopped_or_is_driven_is_not_idle() -> None:
    world = World(plan(4))
    world.run(executor=after(2, lambda: world.ledger.post("s", "stop", {}))(world.trainer))
    assert look(world) is None
    assert look(finished(), driven=True) is None


def test_whether_a_space_is_used_up_is_the_samplers_to_say() -> None:
    world = World(plan(None))
    world.run(sampler=limited(3))
    found = look(world, sampler=limited(3))
    assert found is not None
    assert found.reason == "the space is used up: 3 trials"
    assert look(world, sampler=limited(4)) is None
