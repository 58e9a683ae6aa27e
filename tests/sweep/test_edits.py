"""What an edit makes of a plan, and what is kept of it."""

from __future__ import annotations

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.edits import Edit, edited, newest_pruner, says, with_entries
from rnnsweep.sweep.space import Dimension, Space, completed, fixed
from rnnsweep.sweep.tried_points import point_key, points_of
from tests.kit.plans import plan

X = Dimension("x", "float", 0.0, 1.0)
Y = Dimension("y", "categorical", choices=(1, 2))
FAMILY = Dimension("family", "categorical", choices=("srn", "lstm"))
BIAS = Dimension("family.bias", "float", 0.0, 2.0, when={"family": ("lstm",)})
EVERYTHING = Edit(
    "e1",
    ("y=choice(1,2)", "~x"),
    "ada",
    7.0,
    put=(Y,),
    drop=("x",),
    pins=(fixed("x", 0.5),),
    defaults=(fixed("y", 1),),
    limits={"trials": 9},
    pruner={"_target_": "a.B"},
)


def test_it_survives_the_inbox_and_the_config() -> None:
    assert Edit.of_plain(EVERYTHING.plain()) == EVERYTHING
    launched = plan(6)
    after = edited(launched, EVERYTHING, 4)
    assert with_entries(launched, [EVERYTHING.entry(after, 1.0)]).versions == after.versions
    assert after.budget.trials == 9
    assert newest_pruner([EVERYTHING.entry(after, 1.0), Edit("e2").refused("no", 2.0)]) == {"_target_": "a.B"}


@pytest.mark.parametrize("data", [{}, {"id": 1, "put": 3}, {"id": 1, "put": [["x"]]}, {"id": 1, "put": [["x", {}]]}])
def test_nonsense_is_refused(data: dict) -> None:
    with pytest.raises(ConfigError, match="is no edit"):
        Edit.of_plain(data)


def test_a_trial_s_number_says_its_version() -> None:
    one = edited(plan(9), Edit("a", put=(Y,), defaults=(fixed("y", 1),)), 3)
    two = edited(one, Edit("b", put=(Dimension("x", "float", 0.0, 2.0),)), 5)
    assert [two.version_of(trial) for trial in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    assert [version.number for version in two.versions] == [0, 1, 2]
    assert two.space.keys == ("x", "y")  # one that is widened keeps its place: it is the coordinate of a model
    assert plan(9).version_of(5) == 0


def test_keys_of_before_count_with_the_value_that_they_had() -> None:
    first = edited(plan(9), Edit("a", put=(Y,), defaults=(fixed("y", 1),)), 3)
    assert first.whole({"x": 0.25}) == {"x": 0.25, "y": 1}
    # dropped and searched again: trials in between have its value among their params, those of before the first one
    again = edited(edited(first, Edit("b", drop=("y",), pins=(fixed("y", 2),)), 5), Edit("c", put=(Y,)), 7)
    assert again.whole({"x": 0.25}) == {"x": 0.25, "y": 1}
    assert again.version.pins == ()
    # a key that is searched since the launch is named by every trial
    assert edited(plan(9), Edit("d", put=(X,), defaults=(fixed("x", 0.0),)), 1).version.defaults == ()


def test_conditions_on_a_key_with_one_value_are_settled() -> None:
    both = plan(9, space=Space((X, FAMILY, BIAS)))
    lstm = edited(both, Edit("a", drop=("family",), pins=(fixed("family", "lstm"),)), 2)
    assert lstm.space == Space((X, Dimension("family.bias", "float", 0.0, 2.0)))
    srn = edited(both, Edit("a", drop=("family",), pins=(fixed("family", "srn"),)), 2)
    assert srn.space == Space((X,))
    assert completed(srn.version.pins, {"x": 0.5}) == {"x": 0.5, "family": "srn"}


def test_a_pin_exists_where_its_key_does() -> None:
    pins = (fixed("family.bias", 1.0, {"family": ("lstm",)}), fixed("y", 1))
    assert completed(pins, {"family": "srn"}) == {"family": "srn", "y": 1}
    assert completed(pins, {"family": "lstm", "y": 2}) == {"family": "lstm", "y": 2, "family.bias": 1.0}


def test_a_point_is_one_point_in_all_versions() -> None:
    defaults = (fixed("y", 1), fixed("z", 0.1, {"y": (2,)}))
    old = point_key({"x": 0.5})
    assert point_key({"x": 0.5, "y": 1}, defaults) == old == point_key({"x": 0.5}, defaults)
    assert point_key({"x": 0.5, "y": 2}, defaults) != old
    # z=0.1 is what trials with y=2 had; beside y=1 it is no default but a value of its own
    assert point_key({"y": 2, "z": 0.1}, defaults) == point_key({"y": 2}, defaults)
    assert point_key({"y": 1, "z": 0.1}, defaults) != point_key({"y": 1}, defaults)
    assert points_of(Space((Y,)), (fixed("x", 0.5),), defaults) == {old, point_key({"x": 0.5, "y": 2})}


def test_a_limit_that_cannot_change_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"budget\.updates: can be raised by resume only"):
        edited(plan(3), Edit("a", limits={"updates": 90}), 0)


def test_it_is_told_in_a_line() -> None:
    entry = EVERYTHING.entry(edited(plan(6), EVERYTHING, 4), 1.0)
    assert says(entry) == "version 1 from trial 4 on: y=choice(1,2) ~x (ada)"
    assert says(EVERYTHING.refused("too late", 1.0)) == "refused: y=choice(1,2) ~x (ada): too late"
    limits = Edit("a", ("budget.trials=9",), limits={"trials": 9})
    assert says(limits.entry(edited(plan(6), limits, 4), 1.0)) == "budget.trials=9"


def test_parents_come_first_and_conditions_do_not_run_in_a_circle() -> None:
    one = edited(plan(6), Edit("e1", put=(Y,)), 1)
    depends = Dimension("x", "float", 0.0, 1.0, when={"y": (2,)})
    two = edited(one, Edit("e2", put=(depends,)), 2)
    assert two.space.keys == ("y", "x")  # a sampler must know y before it comes to x
    circle = Edit("e3", put=(Dimension("y", "categorical", choices=(1, 2), when={"x": (0.5,)}),))
    with pytest.raises(ConfigError, match=r"space\.y\.when: conditions run in a circle"):
        edited(two, circle, 3)
