"""Every sampler of conf/sampler keeps the promises of the port `Sampler`."""

import json
import math

import pytest
import yaml

from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.adapters.optuna.sampler import build_sampler
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

CONF, _ = packaged_configs()
UNITS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / "sampler").glob("*.yaml"))}
NONE = yaml.safe_load((CONF / "pruner" / "none.yaml").read_text())
SMALL = {"tpe": {"startup": 4}, "gp": {"startup": 7}, "cmaes": {"startup": 4}, "nsga2": {"population": 4}}

CONTINUOUS = Space(
    (
        Dimension("controllers.clip.threshold", "float", 0.1, 10.0, log=True),
        Dimension("init.sigma", "float", 0.0, 1.0),
        Dimension("family.hidden", "int", 8, 128, log=True),
        Dimension("optimizer.momentum", "float", 0.0, 0.9, step=0.3),
        Dimension("task.length", "int", 10, 50, step=20),
        Dimension("family.activation", "categorical", choices=("tanh", 1, 1.0, True, None)),
        Dimension("family.slope", "float", 0.5, 2.0, when={"family.activation": ("tanh", None)}),
    )
)
STEPPED = Space(
    (
        Dimension("a", "categorical", choices=("x", "y", None)),
        Dimension("b", "float", 0.1, 0.5, step=0.1, when={"a": ("x", "y")}),
        Dimension("c", "int", 1, 3),
    )
)
SPACES = {"grid": STEPPED}


def plan_for(name, space=None, **changes):
    space = SPACES.get(name, CONTINUOUS) if space is None else space
    objectives = changes.pop("objectives", (Objective("valid/error"),))
    return SweepPlan("s", changes.pop("seed", 7), 1, 100, objectives, Budget(50, 1000), space, **changes)


def sampler_for(name, **changes):
    return build_sampler(plan_for(name, **changes), {**UNITS[name], **SMALL.get(name, {})}, NONE)


def outcome(number, params):
    """A made-up result: every fifth trial fails, every fourth is pruned, every third diverges."""
    value = (math.log(params.get("controllers.clip.threshold", 1.0)) - 1) ** 2 + number * 1e-3
    if number % 5 == 4:
        return TrialView(number, TrialState.FAILED, params, reason="bug")
    state = TrialState.PRUNED if number % 4 == 3 else TrialState.COMPLETE
    return TrialView(number, state, params, (value,), diverged_share=0.5 if number % 3 == 2 else 0.0)


def play(sampler, count, late=2):
    """Ask `count` trials; each ends `late` asks later, so some always run. Returns views and rungs of all."""
    views, rungs = {}, {}
    for number in range(count):
        params = sampler.ask(number)
        assert params is not None
        views[number], rungs[number] = TrialView(number, TrialState.RUNNING, params), []
        if number >= late:
            done = number - late
            result = outcome(done, views[done].params)
            for step in (100, 200):
                value = 1.0 + done / step
                sampler.report(done, step, value)
                rungs[done].append((step, value))
            sampler.tell(result)
            views[done] = result
    return list(views.values()), rungs


def same_type_and_value(dimension, value):
    return any(type(choice) is type(value) and choice == value for choice in dimension.choices)


@pytest.mark.parametrize("name", UNITS)
class TestEverySampler:
    def test_points_lie_in_the_space_with_exact_types(self, name):
        views, _ = play(sampler_for(name), 14)
        space = SPACES.get(name, CONTINUOUS)
        for view in views:
            assert list(view.params) == [d.key for d in space if d.active(view.params)]
            for d in space:
                if d.key not in view.params:
                    continue
                value = view.params[d.key]
                if d.kind == "categorical":
                    assert same_type_and_value(d, value)
                    continue
                assert type(value) is {"float": float, "int": int}[d.kind]
                assert d.low <= value <= d.high
                assert d.step is None or value in d.cells()

    def test_points_are_json(self, name):
        views, _ = play(sampler_for(name), 10)
        assert all(json.loads(json.dumps(view.params)) == view.params for view in views)

    def test_an_ask_depends_on_seed_number_and_history_alone(self, name):
        first, _ = play(sampler_for(name), 14)
        again, _ = play(sampler_for(name), 14)
        assert first == again
        if name != "grid":
            other, _ = play(sampler_for(name, seed=8), 14)
            assert [v.params for v in other] != [v.params for v in first]
            assert len({json.dumps(v.params) for v in first}) > 10

    def test_restored_goes_on_like_fed_one_by_one(self, name):
        fed = sampler_for(name)
        views, rungs = play(fed, 14)
        rebuilt = sampler_for(name)
        rebuilt.restore(views, rungs)
        for number in range(14, 16):
            assert rebuilt.ask(number) == fed.ask(number)

    def test_restored_goes_on_like_fed_after_a_json_round_trip(self, name):
        fed = sampler_for(name)
        views, rungs = play(fed, 14)
        rebuilt = sampler_for(name)
        stored = [
            TrialView(v.number, v.state, json.loads(json.dumps(v.params)), v.values, diverged_share=v.diverged_share)
            for v in views
        ]
        rebuilt.restore(list(reversed(stored)), rungs)
        assert rebuilt.ask(14) == fed.ask(14)

    def test_enqueued_points_come_first(self, name):
        space = SPACES.get(name, CONTINUOUS)
        first = space.dimensions[0]
        known = {first.key: 0.25} if first.kind == "float" else {first.key: "y"}
        sampler = sampler_for(name, enqueue=(known, {**known, "extra": 3}))
        one, two = sampler.ask(0), sampler.ask(1)
        assert one is not None
        assert two is not None
        assert one[first.key] == two[first.key] == known[first.key]
        assert two["extra"] == 3
        assert {d.key for d in space if d.active(one)} == set(one)

    def test_an_enqueued_point_outside_of_the_space_does_no_harm(self, name):
        key = SPACES.get(name, CONTINUOUS).keys[0]
        sampler = sampler_for(name, enqueue=({key: math.inf},))
        sampler.ask(0)
        sampler.tell(TrialView(0, TrialState.COMPLETE, {key: math.inf}, (0.0,)))
        assert all(sampler.ask(number) is not None for number in range(1, 8))

    def test_an_empty_space_gives_empty_points(self, name):
        sampler = build_sampler(plan_for(name, space=Space()), UNITS[name], NONE)
        assert sampler.ask(0) == {}


def test_the_contract_found_all_samplers():
    assert {"tpe", "random", "grid", "gp", "cmaes", "qmc", "nsga2"} <= set(UNITS)


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_running_trials_are_considered(name):
    """The same number is asked with and without a trial that still runs at the point proposed without it."""
    space = Space((Dimension("x", "float", 0.0, 1.0), Dimension("y", "float", 0.0, 1.0)))
    alone, busy = sampler_for(name, space=space), sampler_for(name, space=space)
    for sampler in (alone, busy):
        for number in range(20):
            params = sampler.ask(number)
            sampler.tell(TrialView(number, TrialState.COMPLETE, params, ((params["x"] - 0.3) ** 2 + params["y"],)))
    wanted = alone.ask(40)
    busy.restore(
        [
            *(TrialView(r.number, r.state, r.params, r.values) for r in busy._history.newest(100)),
            *(TrialView(number, TrialState.WAITING, wanted) for number in range(20, 40)),
        ],
        {},
    )
    assert busy.ask(40) != wanted
