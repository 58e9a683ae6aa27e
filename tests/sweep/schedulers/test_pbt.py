"""Population based training against a plain reference, written from the paper's words."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.schedulers.base import AtRung, Decision
from rnnsweep.sweep.schedulers.pbt import Pbt
from rnnsweep.sweep.schedulers.population import generation_rungs
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView

LR = Dimension("optimizer.lr", "float", 1e-4, 1.0, log=True)
SIZE = Dimension("family.hidden", "categorical", choices=(8, 16))


def plan(trials: int = 8, goal: str = "minimize", updates: int = 100, **changes) -> SweepPlan:
    objective = Objective("valid/loss", goal)
    made = SweepPlan("s", 3, 1, 10, (objective,), Budget(trials, updates), Space((LR, SIZE)))
    return replace(made, **changes)


def pbt(**changes) -> Pbt:
    return Pbt(**{"interval": 20, "keys": ("optimizer.lr",), "apart": (), "unit_name": "pbt", **changes})


def at(number: int, rung: int, value: float, lr: float = 0.01, hidden: int = 8, last: bool = False) -> AtRung:
    return AtRung(number, rung, 10 * rung, (value,), {"optimizer.lr": lr, "family.hidden": hidden}, last)


def generation(unit: Pbt, values: list[float], sweep: SweepPlan | None = None, order=None, rung: int = 2):
    """Decisions on one generation, whatever the order in which members come."""
    population = unit.start(sweep or plan(len(values)))
    found: list[Decision] = []
    for number in order or range(len(values)):
        decided = population.reached(at(number, rung, values[number], lr=0.01 * (number + 1)))
        assert not decided or not found
        found += decided
    return found


def test_the_worst_take_over_from_the_best() -> None:
    """Truncation selection as in section 4.1.1: of 8 members 2 are replaced, by copies of one of the 2 best."""
    values = [0.5, 0.1, 0.9, 0.3, 0.2, 0.8, 0.4, 0.6]
    decisions = generation(pbt(), values)
    exploits = {one.trial: one for one in decisions if one.verdict == "exploit"}
    assert set(exploits) == {2, 5}
    assert {one.source for one in exploits.values()} <= {1, 4}
    assert {one.trial for one in decisions if one.verdict == "keep"} == {0, 1, 3, 4, 6, 7}
    # whose state is needed is known before whoever has it goes on
    assert [one.verdict for one in decisions] == ["exploit"] * 2 + ["keep"] * 6
    for one in exploits.values():
        source_lr = 0.01 * (one.source + 1)
        assert one.params["family.hidden"] == 8
        assert any(math.isclose(one.params["optimizer.lr"], factor * source_lr) for factor in (0.8, 1.2)) or (
            1e-4 <= one.params["optimizer.lr"] <= 1.0
        )
        assert one.params["optimizer.lr"] != source_lr


def test_a_generation_is_the_same_in_whatever_order_its_members_come() -> None:
    values = [random.Random(1).random() for _ in range(12)]
    expected = generation(pbt(), values)
    for seed in range(10):
        order = random.Random(seed).sample(range(12), 12)
        assert generation(pbt(), values, order=order) == expected


def test_nothing_is_decided_before_all_are_there_and_other_rungs_wait_for_nobody() -> None:
    population = pbt().start(plan(3))
    assert population.reached(at(0, 1, 0.5)) == [Decision(0, 1, "keep")]
    assert population.reached(at(0, 2, 0.5)) == []
    assert population.reached(at(1, 2, 0.4)) == []
    assert len(population.reached(at(2, 2, 0.3))) == 3
    # who comes to a generation that has ended goes on
    assert population.reached(at(7, 2, 0.3)) == [Decision(7, 2, "keep")]


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.PRUNED])
def test_whoever_has_ended_is_not_waited_for(state: TrialState) -> None:
    population = pbt().start(plan(4))
    for number in range(3):
        assert population.reached(at(number, 2, 0.1 * (number + 1))) == []
    decided = population.ended(TrialView(3, state, {}))
    assert {one.trial for one in decided} == {0, 1, 2}
    assert [one.verdict for one in decided].count("exploit") == 1


def test_a_member_without_a_value_is_not_waited_for() -> None:
    """Its objective was not finite at the generation's rung: it reports the next one."""
    population = pbt().start(plan(3))
    population.reached(at(0, 2, 0.5))
    population.reached(at(1, 2, 0.4))
    decided = population.reached(at(2, 3, 0.3))
    assert decided[0] == Decision(2, 3, "keep")
    assert {one.trial for one in decided[1:]} == {0, 1}


def test_a_solved_member_leaves_the_others_alone() -> None:
    population = pbt().start(plan(3))
    population.reached(at(0, 2, 0.5))
    population.reached(at(1, 2, 0.4))
    assert {one.trial for one in population.reached(at(2, 2, 0.0, last=True))} == {0, 1}


def test_the_goal_says_who_is_best_and_equals_are_left_alone() -> None:
    values = [0.1, 0.2, 0.3, 0.4]
    least = [one for one in generation(pbt(), values) if one.verdict == "exploit"]
    most = [one for one in generation(pbt(), values, plan(4, "maximize")) if one.verdict == "exploit"]
    assert [(one.trial, one.source) for one in least] == [(3, 0)]
    assert [(one.trial, one.source) for one in most] == [(0, 3)]
    assert [one.verdict for one in generation(pbt(), [0.5] * 8)] == ["keep"] * 8


def test_states_never_go_from_one_shape_to_another() -> None:
    population = pbt(apart=("family.hidden",), quantile=0.5).start(plan(6))
    found: list[Decision] = []
    for number in range(6):
        found += population.reached(at(number, 2, 0.1 * number, hidden=8 if number < 2 else 16))
    exploits = [(one.trial, one.source, one.params["family.hidden"]) for one in found if one.verdict == "exploit"]
    assert {target for target, _, _ in exploits} == {1, 4, 5}
    assert all((target < 2) == (source < 2) for target, source, _ in exploits)
    assert all(hidden == (8 if target < 2 else 16) for target, _, hidden in exploits)


def test_it_goes_on_where_its_ledger_ends() -> None:
    values = [[0.5, 0.1, 0.9, 0.3], [0.4, 0.2, 0.1, 0.6]]
    whole, first = pbt().start(plan(4)), pbt().start(plan(4))
    for number in range(4):
        whole.reached(at(number, 2, values[0][number]))
    decided = [one for number in range(4) for one in first.reached(at(number, 2, values[0][number]))]
    resumed = pbt().start(plan(4))
    views = [TrialView(number, TrialState.RUNNING, {}) for number in range(4)]
    resumed.restore([at(number, 2, values[0][number]) for number in range(4)], decided, views)
    assert resumed.reached(at(1, 2, 0.0)) == [Decision(1, 2, "keep")]  # that generation is over
    for population in (whole, resumed):
        for number in range(3):
            assert population.reached(at(number, 4, values[1][number])) == []
    assert whole.reached(at(3, 4, 0.6)) == resumed.reached(at(3, 4, 0.6))


def test_a_space_with_fewer_points_than_members_ends_its_generations_all_the_same() -> None:
    population = pbt().start(plan(9))
    for number in range(4):
        assert population.reached(at(number, 2, 0.1 * number)) == []
    assert {one.trial for one in population.drained()} == {0, 1, 2, 3}
    assert population.drained() == []


def test_how_often_values_are_drawn_anew_and_which_factors_are_taken() -> None:
    """2000 exploits: shares of the three moves against binomial bounds of six standard errors, false alarm 6e-9."""
    sweep, unit, moves = plan(4), pbt(resample=0.3), {"drawn": 0, 0.8: 0, 1.2: 0}
    for seed in range(2000):
        found = generation(unit, [0.1, 0.2, 0.3, 0.4], replace(sweep, seed=seed))
        lr = next(one.params["optimizer.lr"] for one in found if one.verdict == "exploit")
        which = next((factor for factor in (0.8, 1.2) if math.isclose(lr, 0.01 * factor, rel_tol=1e-12)), "drawn")
        moves[which] += 1
    for which, share in (("drawn", 0.3), (0.8, 0.35), (1.2, 0.35)):
        assert abs(moves[which] / 2000 - share) < 6 * (share * (1 - share) / 2000) ** 0.5


@pytest.mark.parametrize(
    ("unit", "sweep", "key"),
    [
        ({"interval": 15}, {}, "scheduler.interval"),
        ({"interval": 10}, {}, "scheduler.interval"),
        ({"interval": 20}, {"eval_every": 4}, "scheduler.interval"),
        ({"interval": 90}, {}, "scheduler.interval"),
        ({"members": 9}, {}, "scheduler.members"),
        ({}, {"budget": Budget(None, 100)}, "budget.trials"),
        ({}, {"budget": Budget(8, 100, patience=3)}, "budget.patience"),
        ({}, {"objectives": (Objective("a"), Objective("b"))}, "scheduler"),
    ],
)
def test_a_sweep_that_it_cannot_serve_is_refused(unit: dict, sweep: dict, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pbt(**unit).check_plan(plan(**sweep))
    assert caught.value.key == key


@pytest.mark.parametrize("wrong", [{"perturb": [1.0]}, {"perturb": [-1.0, 2]}, {"perturb": 3}, {"quantile": 0.6}])
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        pbt(**wrong)


def test_generations_end_where_all_are_evaluated_and_two_rungs_are_left() -> None:
    assert generation_rungs(plan(updates=95), 30) == (3, 6)
    assert generation_rungs(plan(updates=80), 30) == (3, 6)
    assert generation_rungs(plan(updates=75), 30) == (3, 6)
    assert generation_rungs(plan(updates=70), 30) == (3,)
    assert generation_rungs(plan(updates=1000), None) == tuple(range(10, 99, 10))
    assert generation_rungs(plan(updates=1000, eval_every=4), None) == tuple(range(8, 99, 8))


def test_whoever_has_diverged_takes_over_a_state_however_bad_the_best_is() -> None:
    """Its stand-in of 0.4 looks better than what the others measure; most of them have diverged."""
    population = pbt(quantile=0.25).start(plan(5))
    found = []
    for number in range(5):
        fallen = number < 3
        one = replace(at(number, 2, 0.4 if fallen else 0.9 + number), diverged=fallen)
        found += population.reached(one)
    exploits = {one.trial: one.source for one in found if one.verdict == "exploit"}
    assert set(exploits) == {0, 1, 2}
    assert set(exploits.values()) <= {3, 4}
    assert population.revived_after(at(0, 3, 0.4)) == 4
    assert population.revived_after(at(0, 9, 0.4)) == 0
    assert population.revived_after(at(7, 3, 0.4)) == 0  # no member


def test_where_all_have_diverged_nobody_is_revived() -> None:
    population = pbt().start(plan(3))
    found = [one for n in range(3) for one in population.reached(replace(at(n, 2, 0.4), diverged=True))]
    assert [one.verdict for one in found] == ["keep"] * 3
