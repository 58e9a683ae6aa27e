"""Samplers in an edited space: what still fits counts, with the values of before; a grid goes on with new cells."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.adapters.optuna.sampler import HistorySampler, build_sampler
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.edits import Edit, edited
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space, fixed
from rnnsweep.sweep.states import TrialState

CONF: Path = packaged_configs()[0]
UNITS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / "sampler").glob("*.yaml"))}
NONE, MEDIAN = (yaml.safe_load((CONF / "pruner" / f"{name}.yaml").read_text()) for name in ("none", "median"))
SMALL = {"tpe": {"startup": 4}, "gp": {"startup": 4}, "cmaes": {"startup": 4}, "nsga2": {"population": 4}}
X, LR = Dimension("x", "float", 0.0, 1.0), Dimension("lr", "float", 1e-3, 1.0, log=True)
A, B = Dimension("a", "categorical", choices=(1, 2)), Dimension("b", "categorical", choices=("p", "q"))
NUMBERS, CELLS = Space((X, LR)), Space((A, B))
ADDS = Edit("1", put=(Dimension("momentum", "float", 0.0, 0.9),), defaults=(fixed("momentum", 0.9),))
ADDS_CELLS = Edit("1", put=(Dimension("c", "int", 1, 2),), defaults=(fixed("c", 1),))


def planned(space: Space, **changes) -> SweepPlan:
    return SweepPlan("s", 7, 1, 10, (Objective("valid/error"),), Budget(40, 100), space, **changes)


def built(name: str, plan: SweepPlan) -> HistorySampler:
    return build_sampler(plan, {**UNITS[name], **SMALL.get(name, {})}, NONE)


def result(number: int, params) -> TrialView:
    value = sum(0.1 * float(one) for one in params.values() if isinstance(one, int | float)) + 1e-3 * number
    state = TrialState.FAILED if number % 5 == 4 else TrialState.COMPLETE
    return TrialView(number, state, dict(params), () if state is TrialState.FAILED else (value,))


def played(sampler: HistorySampler, first: int, last: int) -> list[TrialView]:
    views = []
    for number in range(first, last):
        params = sampler.ask(number)
        assert params is not None
        views.append(result(number, params))
        sampler.tell(views[-1])
    return views


@pytest.mark.parametrize("name", UNITS)
def test_edited_while_it_lives_is_what_a_resume_would_build(name: str) -> None:
    space, edit = (CELLS, ADDS_CELLS) if name == "grid" else (NUMBERS, ADDS)
    plan = planned(space)
    live = built(name, plan)
    views = played(live, 0, 3 if name == "grid" else 10)
    after = edited(plan, edit, len(views))
    assert live.edit(after, None) == 0
    live.restore(views, {})
    again = built(name, after)
    again.restore(list(reversed(views)), {})
    for number in range(len(views), len(views) + 4):
        point = again.ask(number)
        assert point == live.ask(number)
        assert point is not None
        assert set(point) == set(after.space.keys)


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2"])
def test_results_of_before_inform_asks_with_the_value_that_they_had(name: str) -> None:
    plan = planned(NUMBERS)
    sampler = built(name, plan)
    views = played(sampler, 0, 10)
    complete = [view for view in views if view.values]
    after = edited(plan, ADDS, 10)
    sampler.edit(after, None)
    sampler.restore(views, {})
    assert sampler.ask(10)["momentum"] <= 0.9  # type: ignore[index,operator]
    assert sampler.origin.informed_by >= len(complete)
    # those outside of a narrowed range are left out, as points outside of the space always are
    narrow = edited(after, Edit("2", put=(Dimension("x", "float", 0.0, 0.5),)), 11)
    inside = [view for view in complete if view.params["x"] <= 0.5]
    assert 0 < len(inside) < len(complete)
    sampler.edit(narrow, None)
    sampler.restore(views, {})
    points = [sampler.ask(number) for number in range(11, 15)]
    assert all(point is not None and point["x"] <= 0.5 for point in points)
    if sampler.origin.informed_by:  # cmaes may have too few left of its start
        assert sampler.origin.informed_by <= 2 * len(inside)


def test_a_key_that_is_no_longer_searched_has_its_value_in_every_point() -> None:
    plan = planned(NUMBERS)
    sampler = built("random", plan)
    views = played(sampler, 0, 3)
    sampler.edit(edited(plan, Edit("1", drop=("lr",), pins=(fixed("lr", 0.01),)), 3), None)
    sampler.restore(views, {})
    point = sampler.ask(3)
    assert point is not None
    assert list(point) == ["x", "lr"]
    assert point["lr"] == 0.01


def test_a_grid_goes_on_with_the_cells_that_no_trial_has_had() -> None:
    plan = planned(CELLS)
    sampler = built("grid", plan)
    views = played(sampler, 0, 3)
    assert [view.params for view in views] == [{"a": 1, "b": "p"}, {"a": 1, "b": "q"}, {"a": 2, "b": "p"}]
    # c was 1: of the new cells with c=1 three were had, whatever became of them
    after = edited(plan, ADDS_CELLS, 3)
    sampler.edit(after, None)
    sampler.restore(views, {})
    views += played(sampler, 3, 5)
    assert [tuple(view.params.values()) for view in views[3:]] == [(1, "p", 2), (1, "q", 2)]
    # narrowed, then as wide as before: cells are had once
    narrow = edited(after, Edit("2", put=(Dimension("a", "categorical", choices=(2,)),)), 5)
    for one, first in ((narrow, 5), (edited(narrow, Edit("3", put=(A,)), 6), 6)):
        sampler.edit(one, None)
        sampler.restore(views, {})
        views += played(sampler, first, first + 1)
    left = [sampler.ask(number) for number in range(7, 9)]
    had = [tuple(view.params.values()) for view in views[5:]] + [None if p is None else tuple(p.values()) for p in left]
    assert had == [(2, "p", 2), (2, "q", 1), (2, "q", 2), None]


def test_what_a_sampler_cannot_serve_is_refused_and_changes_nothing() -> None:
    plan = planned(CELLS)
    sampler = built("grid", plan)
    with pytest.raises(ConfigError, match="a grid needs choices"):
        sampler.edit(edited(plan, Edit("1", put=(X,), defaults=(fixed("x", 0.5),)), 0), None)
    assert sampler.ask(0) == {"a": 1, "b": "p"}


def test_another_pruner_judges_by_curves_that_the_first_one_had_not_kept() -> None:
    plan = planned(NUMBERS)
    sampler = built("random", plan)
    views = [TrialView(n, TrialState.COMPLETE, {"x": 0.1, "lr": 0.1}, (0.1,)) for n in range(6)]
    views.append(TrialView(6, TrialState.RUNNING, {"x": 0.2, "lr": 0.2}))
    rungs = {n: [(step, 0.1) for step in range(10, 110, 10)] for n in range(6)} | {6: [(50, 0.9)]}
    sampler.restore(views, rungs)
    assert not sampler.prune(6, 50)
    sampler.edit(plan, MEDIAN)
    sampler.restore(views, rungs)
    assert sampler.prune(6, 50)


def test_enqueued_points_that_lie_outside_now_are_counted() -> None:
    plan = planned(NUMBERS)
    sampler = built("random", plan)
    sampler.enqueue([{"x": 0.9}, {"lr": 0.1}, {"x": 0.1}])
    assert sampler.edit(edited(plan, Edit("1", put=(Dimension("x", "float", 0.0, 0.5),)), 0), None) == 1
    sampler.restore([], {})
    first, second = sampler.ask(0), sampler.ask(1)
    assert (first is not None and first["lr"], second is not None and second["x"]) == (0.1, 0.1)
