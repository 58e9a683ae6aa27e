"""Where a state comes from, from the record alone."""

from __future__ import annotations

from rnnsweep.sweep.lineage import Stretch, changes_of, lineage, present_point, present_tokens, schedule
from rnnsweep.sweep.segments import LAPSED, READY, TAKEN, Segment, own_attempts, point_at, segment_of
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import AttemptView, TrialView

A, B, C, D = ({"lr": value} for value in (0.1, 0.2, 0.3, 0.4))


def view(number: int, params, *segments: Segment, rung: int = 9, attempts: int = 1) -> TrialView:
    return TrialView(number, TrialState.COMPLETE, params, rung=rung, attempts=attempts, segments=segments or None)


def test_stretches_go_back_through_all_states_that_were_taken() -> None:
    """2 takes from 1 after rung 6, what 1 had taken from 0 after rung 3; what 1 did later is nobody else's."""
    trials = [
        view(0, A),
        view(1, B, Segment(3, 30, C, 0, TAKEN), Segment(8, 80, D, 0, TAKEN)),
        view(2, D, Segment(3, 30, A, 1, LAPSED), Segment(6, 60, B, 1, TAKEN)),
    ]
    assert lineage(trials, 2) == [Stretch(0, 0, 3, 0, A), Stretch(1, 3, 6, 30, C), Stretch(2, 6, 9, 60, B)]
    assert lineage(trials, 1) == [Stretch(0, 0, 8, 0, A), Stretch(1, 8, 9, 80, D)]
    assert lineage(trials, 0) == [Stretch(0, 0, 9, 0, A)]
    assert schedule(lineage(trials, 2)) == {"lr": [(0, 0.1), (30, 0.3), (60, 0.2)]}


def test_a_state_is_taken_before_its_owner_takes_one_itself() -> None:
    trials = [view(0, A), view(1, B, Segment(4, 40, C, 0, TAKEN)), view(2, D, Segment(4, 40, A, 1, TAKEN))]
    assert lineage(trials, 2) == [Stretch(1, 0, 4, 0, B), Stretch(2, 4, 9, 40, A)]


def test_another_point_may_come_without_another_state() -> None:
    """A schedule over rungs: the trial goes on as itself."""
    trials = [view(0, A, Segment(2, 20, B, None, TAKEN), Segment(5, 50, C, None, TAKEN))]
    assert lineage(trials, 0) == [Stretch(0, 0, 2, 0, A), Stretch(0, 2, 5, 20, B), Stretch(0, 5, 9, 50, C)]


def test_points_and_checkpoints_by_segment() -> None:
    segments = (
        Segment(3, 30, B, 5, TAKEN, attempt=2),
        Segment(6, 60, C, 7, LAPSED, attempt=4, until=5),
        Segment(8, 80, D, 1, READY, attempt=7),
    )
    assert [point_at(A, segments, rung) for rung in (1, 3, 4, 9)] == [A, A, B, B]
    assert own_attempts(segments, 7) == [6, 3, 2]  # neither what lapsed nor what may have been begun
    assert own_attempts(segments[:2], 3) == [3, 2]
    tokens = [AttemptView(0, f"t{number}", number, 0.0) for number in range(1, 8)]
    trial = view(0, A, *segments, attempts=7)
    assert present_tokens(trial, tokens) == ["t6", "t3", "t2"]
    assert present_point(trial) == B
    assert changes_of(A, segments) == [{"update": 30, "parent": 5, "changed": {"lr": (0.1, 0.2)}}]


def test_a_segment_comes_back_from_plain_data() -> None:
    segment = Segment(3, 30, {"lr": 0.1}, 5, READY, ("b", "a"), 2)
    assert segment_of({**vars(segment), "tokens": ["b", "a"]}) == segment
