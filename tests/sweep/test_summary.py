"""Which trials are best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.summary import Best, best, best_of, pareto, rank, ranked

LEAST, MOST = Objective("valid/error"), Objective("valid/share", goal="maximize")


def trial(number: int, *values: float, state: TrialState = TrialState.COMPLETE, solved: int | None = None) -> TrialView:
    return TrialView(number, state, {}, values, solved_at=solved)


def test_who_solved_earlier_wins_a_tie_then_the_lower_number() -> None:
    trials = [trial(3, 0.0), trial(1, 0.0, solved=200), trial(2, 0.0, solved=100), trial(0, 0.5), trial(4, 0.0)]
    assert [view.number for view in ranked(trials, [LEAST])] == [2, 1, 3, 4, 0]
    assert best(trials, [LEAST]) == trials[2]


def test_only_complete_trials_with_a_value_count() -> None:
    trials = [trial(0), trial(1, 0.1, state=TrialState.PRUNED), trial(2, 0.0, state=TrialState.FAILED), trial(3, 0.4)]
    assert [view.number for view in ranked(trials, [LEAST])] == [3]
    assert best(trials[:3], [LEAST]) is None
    assert best([], [LEAST]) is None


def test_a_maximised_objective_ranks_from_above() -> None:
    trials = [trial(0, 0.5, 0.1), trial(1, 0.5, 0.9)]
    assert [view.number for view in ranked(trials, [LEAST, MOST], index=1)] == [1, 0]


def test_the_front_is_what_nobody_beats_in_everything() -> None:
    trials = [trial(0, 1.0, 5.0), trial(1, 2.0, 9.0), trial(2, 2.0, 4.0), trial(3, 1.0, 5.0), trial(4, 3.0)]
    assert [view.number for view in pareto(trials, [LEAST, MOST])] == [0, 1, 3]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5]), st.none() | st.sampled_from([50, 100])), max_size=12))
def test_one_by_one_it_is_the_first_of_the_ranked(results: list[tuple[float, int | None]]) -> None:
    """What the live display and MLflow's note keep is what tables and report sort by, ties included."""
    trials = [trial(number, value, solved=solved) for number, (value, solved) in enumerate(results)]
    for order in (trials, trials[::-1]):
        found: Best | None = None
        for view in order:
            found = best_of(found, rank(LEAST, view.values[0], view.solved_at, view.number), view.values[0])
        first = best(trials, [LEAST])
        assert (found and found.number) == (first and first.number)
        if found is None or first is None:
            continue
        others = [view for view in trials if view is not first and view.values == first.values]
        assert (found.tied, found.alike) == (len(others), sum(view.solved_at == first.solved_at for view in others))


def test_ties_are_said() -> None:
    goal = Objective("e")
    assert str(Best(rank(goal, 0.5, None, 3), 0.5)) == "trial 3, objective 0.5"
    unsolved = Best(rank(goal, 0.5, None, 3), 0.5, 1, 1)
    assert str(unsolved) == "trial 3, objective 0.5 (1 other ties, unsolved as it is; it has the lowest number)"
    assert str(Best(rank(goal, 0.0, 40, 3), 0.0, 6)) == "trial 3, objective 0 (6 others tie; it solved first)"


@pytest.mark.parametrize(
    ("solved", "text"),
    [
        ((None, 40, 50), "2 others tie; it solved first"),
        ((40, 40), "1 other ties, solved at update 40 too; it has the lowest number"),
        ((40, 40, 40), "2 others tie, all solved at update 40 too; it has the lowest number"),
        ((40, 50, 40, None), "3 others tie, 1 of them solved at update 40 too; it has the lowest number"),
        ((None, None, None), "2 others tie, unsolved as it is; it has the lowest number"),
    ],
)
def test_the_rule_that_decided_is_said(solved: tuple[int | None, ...], text: str) -> None:
    """The objective, then who solved earlier, then the number: never "solved first" of one who did not."""
    found: Best | None = None
    for number, at in enumerate(solved):
        found = best_of(found, rank(LEAST, 0.0, at, number), 0.0)
    assert found is not None
    assert found.ties() == text
