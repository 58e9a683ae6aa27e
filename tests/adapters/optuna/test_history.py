"""The history's sorted views against a plain look at all records, after any sequence of events."""

import heapq

from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.adapters.optuna.history import History
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

SPACE = Space((Dimension("x", "float", 0.0, 1.0),))
OBJECTIVES = (Objective("valid/error"), Objective("train/loss", goal="maximize"))
number = st.integers(-4, 12)
params = st.sampled_from([{"x": 0.25}, {"x": 0.75}, {"x": 7.0}])  # the last lies outside of the space
value = st.sampled_from([0.0, 0.5, -1.0, 2.0])
ended = st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED])
events = st.lists(
    st.tuples(st.just("start"), number, params)
    | st.tuples(st.just("report"), number, st.integers(1, 3), value)
    | st.tuples(st.just("finish"), number, params, ended, value, value, st.sampled_from([0.0, 0.5])),
    max_size=60,
)


def fed(story, trusted):
    history = History(SPACE, OBJECTIVES, trusted=trusted)
    for kind, which, *rest in story:
        if kind == "start":
            history.start(which, *rest)
        elif kind == "report":
            history.report(which, *rest)
        else:
            point, state, first, second, diverged = rest
            values = (first, second) if state is TrialState.COMPLETE else ()
            history.finish(TrialView(which, state, point, values, diverged_share=diverged))
    return history


def telling(history, record):
    return record.usable and (record.state is TrialState.COMPLETE or record.last[0] >= history.trusted)


def plain_finished(history, cap, pruned):
    """As the docstring of `finished` says, by sorting everything."""
    records = sorted(history._records.values(), key=lambda r: r.number)
    usable = [r for r in records if telling(history, r) and (pruned or r.state is TrialState.COMPLETE)]
    if len(usable) <= cap:
        return usable
    complete, shown = [r for r in usable if r.state is TrialState.COMPLETE], {}
    for index, sign in enumerate((1, -1)):
        key = lambda r, i=index, s=sign: (r.diverged > 0, s * r.values[i], r.number)  # noqa: E731
        shown.update({r.number: r for r in heapq.nsmallest(cap // 8, complete, key=key)})
    for record in reversed(usable):
        if len(shown) >= cap:
            break
        shown.setdefault(record.number, record)
    return [shown[n] for n in sorted(shown)]


@given(events, st.integers(1, 16), st.booleans(), st.integers(0, 3))
def test_every_view_is_what_a_look_at_all_records_gives(story, cap, pruned, trusted):
    history = fed(story, trusted)
    records = sorted(history._records.values(), key=lambda r: r.number)
    assert history.running() == [r for r in records if r.state is TrialState.RUNNING]
    assert history.finished(cap, pruned) == plain_finished(history, cap, pruned)
    assert history.warm == sum(r.number < 0 and telling(history, r) for r in records)
    assert history.newest(cap) == records[-cap:]
    for state in (TrialState.COMPLETE, TrialState.PRUNED):
        assert history.newest(cap, state) == [r for r in records if r.state is state][-cap:]
