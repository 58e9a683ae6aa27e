"""Edits of sweeps that run, that do not, and whose driver dies over them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.sweep.edits import KEY, Edit, with_entries
from rnnsweep.sweep.space import Dimension, Space, fixed
from rnnsweep.sweep.states import SweepState
from tests.kit.ledger import Killed, kill_at
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler
from tests.sweep.simulation import World, after

Y = Dimension("y", "categorical", choices=(1, 2))
WITH_Y = Edit("e1", ("y=choice(1,2)",), "ada", 7.0, put=(Y,), defaults=(fixed("y", 1),))
PINNED = Edit("e2", ("x=0.25",), drop=("x",), pins=(fixed("x", 0.25),))


def serial(trials: int | None = 6, **changes) -> World:
    """One trial at a time, so that an edit finds trials that are still to be asked for."""
    return World(plan(trials, **{"replicas": 1, "prefetch": 1, **changes}), slots=1, workers=1)


def entries(world: World) -> list[dict]:
    view = world.ledger.sweep("s")
    assert view is not None
    return list(view.config.get(KEY, []))


def resumed(world: World, **changes):
    """As `resume` does: the plan comes from the ledger's config."""
    world.plan = with_entries(replace(world.plan, space=Space((Dimension("x", "float", 0.0, 1.0),))), entries(world))
    return world.run(**changes)


def spaces(world: World) -> list[int | None]:
    return [view.space for view in world.ledger.trials("s")]


def test_a_running_sweep_asks_by_the_new_space_from_the_next_trial_on() -> None:
    world = serial()
    edit = after(4, lambda: world.ledger.post("s", "edit", WITH_Y.plain()))
    assert world.run(executor=edit(world.trainer, 1)).exit_code == 0
    (entry,) = entries(world)
    assert (entry["version"], entry["typed"], entry["by"]) == (1, ["y=choice(1,2)"], "ada")
    first = entry["first"]
    assert 0 < first < 6
    assert spaces(world) == [None] * first + [1] * (6 - first)
    assert world.sampler.plans[-1].space.keys == ("x", "y")
    assert [view.number for view in world.sampler.restored] == list(range(first))  # rebuilt from the ledger


def test_a_sweep_that_has_ended_hears_of_it_when_it_goes_on() -> None:
    world = serial(2)
    world.run()
    world.ledger.post("s", "edit", WITH_Y.plain())
    world.plan = replace(world.plan, budget=replace(world.plan.budget, trials=4))
    assert resumed(world).exit_code == 0
    assert spaces(world) == [None, None, 1, 1]
    world.plan = replace(world.plan, budget=replace(world.plan.budget, trials=5))
    assert resumed(world).exit_code == 0  # and not again
    assert (spaces(world)[-1], len(entries(world))) == (1, 1)


@pytest.mark.parametrize("later", range(4))
def test_a_kill_between_the_request_and_its_effect_loses_nothing_and_does_nothing_twice(later: int) -> None:
    world = serial()

    def edit_and_die() -> None:
        world.ledger.post("s", "edit", WITH_Y.plain())
        world.ledger.before_commit = kill_at(world.ledger.commits + 1 + later)

    with pytest.raises(Killed):
        world.run(executor=after(4, edit_and_die)(world.trainer, 1))
    world.ledger.before_commit = None
    assert resumed(world).exit_code == 0
    assert [entry["id"] for entry in entries(world)] == ["e1"]
    first = entries(world)[0]["first"]
    assert spaces(world) == [None] * first + [1] * (6 - first)


def test_two_edits_of_one_moment_both_count() -> None:
    world = serial()
    both = after(4, lambda: [world.ledger.post("s", "edit", one.plain()) for one in (WITH_Y, PINNED)])
    world.run(executor=both(world.trainer, 1))
    assert [entry["version"] for entry in entries(world)] == [1, 2]
    assert world.sampler.plans[-1].space.keys == ("y",)
    assert world.sampler.plans[-1].version.pins == (fixed("x", 0.25),)


def test_what_cannot_be_done_is_kept_as_refused_and_not_tried_again() -> None:
    world = serial(3)
    wrong = Edit("e9", ("budget.updates=9",), limits={"updates": 9})
    post = after(3, lambda: [world.ledger.post("s", "edit", data) for data in (wrong.plain(), {"id": "e8", "put": 1})])
    assert world.run(executor=post(world.trainer, 1)).exit_code == 0
    assert [entry["id"] for entry in entries(world)] == ["e9", "e8"]
    assert all("refused" in entry for entry in entries(world))
    assert spaces(world) == [None] * 3
    resumed(world)
    assert len(entries(world)) == 2


def test_limits_change_with_it_and_hold_for_the_next_session() -> None:
    world = serial(3)
    more = Edit("e3", ("budget.trials=5",), limits={"trials": 5})
    assert (
        world.run(executor=after(3, lambda: world.ledger.post("s", "edit", more.plain()))(world.trainer, 1)).exit_code
        == 0
    )
    view = world.ledger.sweep("s")
    assert view is not None
    assert (len(spaces(world)), view.config["budget"]) == (5, {"trials": 5})
    assert spaces(world) == [None] * 5  # the space is what it was


def test_points_that_no_longer_fit_are_dropped_in_every_session() -> None:
    world = serial(8)

    def points_and_edit() -> None:
        world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}]})
        world.ledger.post("s", "edit", PINNED.plain())

    assert world.run(executor=after(3, points_and_edit)(world.trainer, 1)).reason == "all 8 trials finished"
    assert not [view for view in world.ledger.trials("s") if view.enqueued]


def test_a_space_that_was_used_up_has_points_again() -> None:
    one = Space((Dimension("x", "categorical", choices=(0.1,)),))
    world = serial(None, space=one, repeat=False)
    assert world.run(sampler=ScriptedSampler(lambda number: {"x": 0.1})).reason == "the space is used up: 1 trial"
    world.ledger.post("s", "edit", WITH_Y.plain())
    # y=1 is what the first trial had: that point is known
    scripted = ScriptedSampler(lambda number: {"x": 0.1, "y": 1 + number % 2})
    world.plan = with_entries(world.plan, entries(world))
    outcome = world.run(sampler=scripted)
    assert (outcome.state, outcome.reason) == (SweepState.COMPLETE, "the space is used up: 2 trials")
    assert [dict(view.params) for view in world.ledger.trials("s")] == [{"x": 0.1}, {"x": 0.1, "y": 2}]


def test_the_value_of_before_is_a_repetition_of_a_trial_of_before() -> None:
    one = Space((Dimension("x", "categorical", choices=(0.1,)),))
    world = serial(3, space=one, repeat=False)
    world.run(sampler=ScriptedSampler(lambda number: {"x": 0.1}))
    world.ledger.post("s", "edit", WITH_Y.plain())
    world.run(sampler=ScriptedSampler(lambda number: {"x": 0.1, "y": number}))
    assert [(view.same_as, view.space) for view in world.ledger.trials("s")] == [(None, None), (0, 1), (None, 1)]
