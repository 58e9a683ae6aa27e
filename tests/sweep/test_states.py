"""The tables of allowed moves."""

from __future__ import annotations

import itertools

import pytest

from rnnsweep.errors import IllegalTransition
from rnnsweep.sweep.states import (
    ROW_MOVES,
    SWEEP_MOVES,
    TRIAL_MOVES,
    RowState,
    SweepState,
    TrialState,
    check_move,
)

TABLES = [(TRIAL_MOVES, TrialState), (ROW_MOVES, RowState), (SWEEP_MOVES, SweepState)]


@pytest.mark.parametrize(("moves", "states"), TABLES)
def test_every_state_has_its_moves_and_every_other_move_raises_with_the_history(moves, states) -> None:
    assert set(moves) == set(states)
    for before, after in itertools.product(states, states):
        if after in moves[before]:
            check_move(moves, "trial 3", before, after)
            continue
        with pytest.raises(IllegalTransition, match=f"trial 3: {before} -> {after} is not allowed") as error:
            check_move(moves, "trial 3", before, after, ["attempt 1 lost"])
        assert error.value.history == ("attempt 1 lost",)
        assert "attempt 1 lost" in str(error.value)


def test_pruned_is_for_ever_and_nothing_waits_out_of_nowhere() -> None:
    assert TRIAL_MOVES[TrialState.PRUNED] == frozenset()
    assert ROW_MOVES[RowState.PRUNED] == frozenset()
    assert {state for state in TrialState if TrialState.WAITING in TRIAL_MOVES[state]} == {
        TrialState.RUNNING,
        TrialState.PAUSED,
        TrialState.COMPLETE,
        TrialState.FAILED,
    }


def test_which_states_are_an_end() -> None:
    unfinished = [state for state in TrialState if not state.finished]
    assert unfinished == [TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED]
    assert [state for state in RowState if not state.ended] == [RowState.ACTIVE]
