"""Brackets are competitions of their own, dealt by number."""

from __future__ import annotations

from collections import Counter

from rnnsweep.sweep.schedulers.asha import Asha
from rnnsweep.sweep.schedulers.base import AtRung, Decision
from rnnsweep.sweep.schedulers.brackets import Brackets, HyperbandBrackets, bracket_of
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView
from tests.kit.plans import plan

PLAN = plan(60, updates=270, replicas=1)  # 27 rungs: milestones at 1, 3, 9


def at(trial: int, rung: int, last: bool = False) -> AtRung:
    return AtRung(trial, rung, 10 * rung, (trial * 37 % 101 / rung,), {}, last)


def test_trials_are_dealt_in_hyperbands_proportions() -> None:
    # sizes of Li et al. (2018), Table 1, for R = 81, eta = 3: n = 81, 34, 15, 8, 5
    assert Counter(bracket_of(number, 3, 5) for number in range(143)) == {0: 81, 1: 34, 2: 15, 3: 8, 4: 5}


def test_each_bracket_spares_one_milestone_more_and_the_last_one_all() -> None:
    scheduler = HyperbandBrackets(eta=3).start(PLAN)
    assert isinstance(scheduler, Brackets)
    assert [[level.rung for level in one.levels] for one in scheduler.brackets] == [[1, 3, 9], [3, 9], [9], []]
    few = HyperbandBrackets(eta=3, brackets=2).start(PLAN)
    assert isinstance(few, Brackets)
    assert [[level.rung for level in one.levels] for one in few.brackets] == [[1, 3, 9], [3, 9]]


def test_a_bracket_decides_as_if_the_others_were_not_there() -> None:
    whole = HyperbandBrackets(eta=3).start(PLAN)
    mine = [number for number in range(60) if bracket_of(number, 3, 4) == 0]
    alone = Asha(eta=3).start(PLAN)
    for number in range(60):
        made = whole.reached(at(number, 1))
        if number in mine:
            assert made == alone.reached(at(number, 1))
        else:
            assert made == [Decision(number, 1, "keep")]


def test_when_all_is_drained_nothing_more_goes_on_once_some_bracket_has_a_winner() -> None:
    scheduler = HyperbandBrackets(eta=3).start(PLAN)
    scheduler.reached(at(0, 1))
    spared = next(number for number in range(60) if bracket_of(number, 3, 4) == 3)
    assert scheduler.drained() == [Decision(0, 1, "promote")]
    scheduler.reached(at(1, 1))
    scheduler.reached(at(spared, 27, last=True))
    assert not scheduler.drained()


def test_it_is_restored_bracket_by_bracket() -> None:
    first, made = HyperbandBrackets(eta=3).start(PLAN), list[Decision]()
    cases = [at(number, 1) for number in range(40)] + [at(number, 3) for number in range(40, 60)]
    for case in cases:
        made += first.reached(case)
    again = HyperbandBrackets(eta=3).start(PLAN)
    again.restore(cases, made, [TrialView(7, TrialState.FAILED, {})])
    first.ended(TrialView(7, TrialState.FAILED, {}))
    later = [at(number, 1) for number in range(60, 90)]
    assert [list(again.reached(case)) for case in later] == [list(first.reached(case)) for case in later]
    paused = next(one for one in made if one.verdict == "pause" and one.trial != 7)
    for scheduler in (first, again):
        scheduler.promoted(paused.trial, paused.rung)
        assert all(one.trial != paused.trial for one in scheduler.drained())
