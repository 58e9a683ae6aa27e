"""The port `Sampler`: what is asked, told and restored, whatever units stand behind it."""

import pytest

from rnnsweep.adapters.optuna.sampler import build_sampler
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

PACKAGE = "rnnsweep.adapters.optuna"
RANDOM = {"_target_": f"{PACKAGE}.samplers.random.Random"}
MEDIAN = {"_target_": f"{PACKAGE}.pruners.median.Median", "startup": 1, "warmup": 0}
NONE = {"_target_": f"{PACKAGE}.pruners.none.Never"}
SPACE = Space((Dimension("x", "float", 0.0, 1.0), Dimension("n", "int", 1, 9)))


def plan(objectives=1, enqueue=()):
    goals = tuple(Objective(f"o{index}") for index in range(objectives))
    return SweepPlan("s", 3, 1, 10, goals, Budget(9, 100), SPACE, enqueue=enqueue)


def test_an_ask_depends_on_its_number_alone_not_on_what_was_asked_before():
    early, late = build_sampler(plan(), RANDOM, NONE), build_sampler(plan(), RANDOM, NONE)
    for number in range(5):
        early.ask(number)
    assert late.ask(5) == early.ask(5)


def test_the_plans_points_come_first_with_exact_types_and_the_rest_filled_in():
    sampler = build_sampler(plan(enqueue=({"x": 1, "n": 4.0}, {"x": 0.25})), RANDOM, NONE)
    first, second, third = (sampler.ask(number) for number in range(3))
    assert first == {"x": 1.0, "n": 4} and type(first["x"]) is float and type(first["n"]) is int
    assert second["x"] == 0.25 and second["n"] in range(1, 10)
    assert third["x"] != 0.25


def test_several_objectives_cannot_be_pruned():
    with pytest.raises(ConfigError, match="several objectives"):
        build_sampler(plan(objectives=2), RANDOM, MEDIAN)


@pytest.mark.parametrize(("sampler", "pruner", "key"), [(NONE, NONE, "sampler"), (RANDOM, RANDOM, "pruner")])
def test_units_in_each_others_place_are_refused(sampler, pruner, key):
    with pytest.raises(ConfigError) as caught:
        build_sampler(plan(), sampler, pruner)
    assert caught.value.key.startswith(key)


def test_a_restored_history_gives_the_same_verdicts():
    """Trial 0 is good, trial 1 is bad from the start: the median of the finished ones decides."""
    live, again = build_sampler(plan(), RANDOM, MEDIAN), build_sampler(plan(), RANDOM, MEDIAN)
    rungs = {0: [(10, 0.2), (20, 0.1)], 1: [(10, 0.9)]}
    views = [TrialView(0, TrialState.COMPLETE, {"x": 0.1, "n": 1}, (0.1,))]
    views += [TrialView(1, TrialState.RUNNING, {"x": 0.2, "n": 2})]
    for number in range(2):
        live.ask(number)
        for step, value in rungs[number]:
            live.report(number, step, value)
    live.tell(views[0])
    again.restore(views, rungs)
    assert live.prune(1, 10) is again.prune(1, 10) is True
    assert again.prune(1, 20) is False  # nothing was reported there
    assert again.prune(7, 10) is False  # nobody knows it


def test_failed_trials_leave_nothing_to_judge():
    sampler = build_sampler(plan(), RANDOM, MEDIAN)
    sampler.ask(0)
    sampler.report(0, 10, 0.5)
    sampler.tell(TrialView(0, TrialState.FAILED, {}))
    sampler.report(0, 20, 0.4)
    assert sampler.prune(0, 20) is False


def test_what_a_scheduler_has_paused_teaches_the_model_and_so_do_its_later_rungs():
    """It comes as PRUNED and trains on: the next ask is that of a sampler that has never seen it elsewhere."""
    tpe = {"_target_": f"{PACKAGE}.samplers.tpe.Tpe", "startup": 2, "interim": 0.0}
    points = [{"x": number / 9, "n": number + 1} for number in range(8)]
    paused = [TrialView(number, TrialState.PRUNED, points[number], (0.1 * number,)) for number in range(8)]
    live, later = build_sampler(plan(), tpe, NONE), build_sampler(plan(), tpe, NONE)
    curves = {number: [(10, 0.1 * number)] for number in range(8)}
    live.restore([TrialView(number, TrialState.RUNNING, points[number]) for number in range(8)], curves, {})
    for view in paused:
        live.tell(view)
    asked = live.ask(8)
    assert asked is not None
    assert live.origin.informed_by == 8  # Optuna has its own forms of all of them now
    for number in (6, 7):  # the worst so far turn out to be the best
        live.report(number, 20, -9.0)
    running = TrialView(8, TrialState.RUNNING, asked)
    later.restore([*paused, running], {**curves, 6: [(20, -9.0)], 7: [(20, -9.0)]}, {})
    assert live.ask(9) == later.ask(9)


@pytest.mark.parametrize("several", [False, True])
def test_trials_that_wait_teach_the_model_from_the_trusted_share_of_their_updates_on(several):
    """40 of 100 updates: until then an ask is that of a sampler that has heard nothing, afterwards it is not."""
    tpe = {"_target_": f"{PACKAGE}.samplers.tpe.Tpe", "startup": 2, "interim": 0.31}
    points = [{"x": number / 9, "n": number + 1} for number in range(8)]
    values = (0.1, 0.2) if several else (0.1,)

    def asked_at(rung):
        sampler = build_sampler(plan(1 + several), tpe, NONE)
        for number, point in enumerate(points):
            sampler.tell(TrialView(number, TrialState.PRUNED, point, values, rung=rung))
        return sampler.ask(8), sampler.origin.informed_by

    def reported_at(rung):
        sampler = build_sampler(plan(), tpe, NONE)
        views = [TrialView(number, TrialState.PRUNED, point, values, rung=3) for number, point in enumerate(points)]
        sampler.restore(views, {number: [(30, 0.1)] for number in range(8)}, {})
        for number in range(8):
            sampler.report(number, 10 * rung, 0.1)
        return sampler.ask(8), sampler.origin.informed_by

    blind = build_sampler(plan(1 + several), tpe, NONE).ask(8)
    assert asked_at(3) == (blind, 0)
    point, informed = asked_at(4)
    assert (point != blind, informed) == (True, 8)
    if not several:  # those that were promoted, as their reports come
        assert reported_at(3) == (blind, 0)
        assert reported_at(4) == (point, 8)


@pytest.mark.parametrize("share", [-0.1, 1.1, None, "a"])
def test_the_trusted_share_lies_between_0_and_1(share):
    with pytest.raises(ConfigError, match=r"sampler\.interim"):
        build_sampler(plan(), {"_target_": f"{PACKAGE}.samplers.tpe.Tpe", "interim": share}, NONE)


@pytest.mark.parametrize("name", ["tpe.Tpe", "gp.Gp", "nsga2.Nsga2"])
def test_with_several_objectives_trials_that_were_pruned_or_wait_stop_no_sampler(name):
    sampler = build_sampler(plan(2), {"_target_": f"{PACKAGE}.samplers.{name}"}, NONE)
    for number in range(8):
        point = sampler.ask(number)
        state = TrialState.COMPLETE if number % 2 else TrialState.PRUNED
        sampler.tell(TrialView(number, state, point, (0.1 * number, 1 - 0.1 * number)))
    assert sampler.ask(8) is not None
