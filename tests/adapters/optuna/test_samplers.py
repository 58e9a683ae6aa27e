"""What single samplers promise beyond the contract."""

import math
import time
import tracemalloc

import numpy as np
import pytest

from rnnsweep.adapters.optuna.importance import importances
from rnnsweep.adapters.optuna.sampler import build_sampler
from rnnsweep.adapters.optuna.samplers.nsga2 import crowding, fronts
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

PACKAGE = "rnnsweep.adapters.optuna"
NONE = {"_target_": f"{PACKAGE}.pruners.none.Never"}
PLANE = Space((Dimension("x", "float", 1e-3, 1.0, log=True), Dimension("y", "float", -1.0, 1.0)))
SQUARE = Space((Dimension("x", "float", 0.0, 1.0), Dimension("y", "float", 0.0, 1.0)))


def sampler_for(name, space=PLANE, seed=3, objectives=1, **keys):
    goals = tuple(Objective(f"o{index}") for index in range(objectives))
    plan = SweepPlan("s", seed, 1, 100, goals, Budget(100, 1000), space)
    return build_sampler(plan, {"_target_": f"{PACKAGE}.samplers.{name}.{name.capitalize()}", **keys}, NONE)


def bowl(params):
    return (math.log10(params["x"]) + 2) ** 2 + params["y"] ** 2


def best_of(name, count, **keys):
    sampler, best = sampler_for(name, **keys), math.inf
    for number in range(count):
        params = sampler.ask(number)
        sampler.tell(TrialView(number, TrialState.COMPLETE, params, (bowl(params),)))
        best = min(best, bowl(params))
    return best


def test_informed_samplers_beat_chance():
    """Bowl over [-3, 0] x [-1, 1]: of 60 uniform points the best is at about 3·2/(60·pi) = 0.03."""
    chance = np.median([best_of("random", 60, seed=seed) for seed in range(9)])
    assert 0.003 < chance < 0.15
    assert best_of("cmaes", 100) < chance / 10
    assert best_of("tpe", 60) < chance


def test_grid_visits_every_cell_once_then_ends():
    space = Space(
        (
            Dimension("a", "categorical", choices=("on", "off")),
            Dimension("b", "float", 0.0, 0.4, step=0.2, when={"a": ("on",)}),
        )
    )
    sampler = sampler_for("grid", space)
    cells = [sampler.ask(number) for number in range(6)]
    assert cells[:4] == list(space.grid())
    assert cells[4:] == [None, None]
    assert sampler.ask(1) == cells[1]


def test_grid_needs_cells():
    with pytest.raises(ConfigError) as caught:
        sampler_for("grid")
    assert caught.value.key == "space.x"


def test_qmc_fills_evenly():
    """A scrambled Sobol sequence puts one of 64 points into each of 64 equal slices of every axis."""
    space = Space(tuple(Dimension(f"x{i}", "float", 0.0, 1.0) for i in range(3)))
    sampler = sampler_for("qmc", space)
    points = np.array([list(sampler.ask(number).values()) for number in range(64)])
    for column in points.T:
        assert sorted((column * 64).astype(int)) == list(range(64))


def test_cmaes_waits_for_stragglers_and_skips_failures():
    """What was asked for on the settled prefix does not depend on later results."""
    sampler = sampler_for("cmaes", startup=4)
    views = []
    for number in range(30):
        params = sampler.ask(number)
        state = TrialState.FAILED if number == 7 else TrialState.COMPLETE
        views.append(TrialView(number, state, params, () if number == 7 else (bowl(params),)))
    straggler = TrialView(12, TrialState.RUNNING, views[12].params)
    early, late = sampler_for("cmaes", startup=4), sampler_for("cmaes", startup=4)
    early.restore([*views[:12], straggler], {})
    late.restore([*views[:12], straggler, *views[13:]], {})
    assert early.ask(40) == late.ask(40)
    late.tell(views[12])
    assert late.ask(41) != early.ask(41)


def test_cmaes_refuses_what_it_cannot_search():
    with pytest.raises(ConfigError):
        sampler_for("cmaes", Space((Dimension("a", "categorical", choices=(1, 2)),)))
    with pytest.raises(ConfigError):
        sampler_for("cmaes", objectives=2)


def test_nsga2_nears_both_ends_of_a_front():
    """Schaffer's problem (z², (z-2)²), z in [-10, 10]: the front is z in [0, 2], a tenth of the space."""
    space = Space((Dimension("z", "float", -10.0, 10.0),))
    sampler = sampler_for("nsga2", space, objectives=2, population=16)
    late = []
    for number in range(120):
        z = sampler.ask(number)["z"]
        sampler.tell(TrialView(number, TrialState.COMPLETE, {"z": z}, (z**2, (z - 2) ** 2)))
        late += [z] if number >= 80 else []
    near = sum(-0.2 <= z <= 2.2 for z in late)
    assert near >= 16  # by chance 12 % of 40; P(>= 16) < 1e-5


def test_fronts_follow_constrained_domination():
    losses = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [2.0, 0.0]])
    assert fronts(losses, np.zeros(4)).tolist() == [0, 1, 1, 1]
    assert fronts(losses, np.array([0.5, 0.0, 0.0, 0.0])).tolist() == [1, 0, 0, 0]
    assert crowding(np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]])).tolist() == [math.inf, 2.0, math.inf]


def test_diverged_trials_repel_tpe():
    """The same values with and without divergence on the left half."""

    def share_left(diverged):
        sampler = sampler_for("tpe", startup=20)
        for number in range(30):
            params = sampler.ask(number)
            bad = diverged and params["y"] < 0
            sampler.tell(TrialView(number, TrialState.COMPLETE, params, (0.5,), diverged_share=float(bad)))
        return np.mean([sampler.ask(number)["y"] < 0 for number in range(30, 60)])

    assert share_left(True) + 0.1 < share_left(False)


def test_history_is_bounded_and_small():
    sampler = sampler_for("tpe", shown=500)
    tracemalloc.start()
    for number in range(3000):
        params = {"x": 0.001 + number / 3001, "y": math.sin(number)}
        sampler._history.start(number, params)
        for step in range(100, 2100, 100):
            sampler.report(number, step, 0.5)
        sampler.tell(TrialView(number, TrialState.COMPLETE, params, (math.cos(number),)))
    grown = tracemalloc.get_traced_memory()[0] / 3000
    tracemalloc.stop()
    sampler.ask(3000)
    begin = time.perf_counter()
    for number in range(3001, 3006):
        sampler.ask(number)
    assert (time.perf_counter() - begin) / 5 < 0.3  # about 15 ms on a quiet core
    assert grown < 2500
    shown = sampler._history.finished(500)
    assert len(shown) == 500
    assert min(sampler._history._records.values(), key=lambda r: r.values or (9,)).number in {r.number for r in shown}


def test_importance_finds_the_key_that_matters():
    rng = np.random.default_rng(0)
    space = Space(
        (
            Dimension("x", "float", 0.0, 1.0),
            Dimension("y", "float", 0.0, 1.0),
            Dimension("c", "categorical", choices=("a", "b")),
        )
    )
    trials = [
        TrialView(n, TrialState.COMPLETE, {"x": x, "y": y, "c": "a"}, (x**2,))
        for n, (x, y) in enumerate(rng.random((60, 2)).tolist())
    ]
    found = importances(space, trials)
    assert next(iter(found)) == "x"
    assert found["x"] > 0.7
    assert found["c"] == 0.0
    assert math.isclose(sum(found.values()), 1.0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_importance_of_little_or_constant_data_is_finite(count):
    view = lambda n, v: TrialView(n, TrialState.COMPLETE, {"x": 0.1 + n / 10, "y": 0.0}, (v,))  # noqa: E731
    for values in ([0.5] * count, list(range(count))):
        found = importances(PLANE, [view(n, float(v)) for n, v in enumerate(values)])
        assert set(found) == {"x", "y"}
        assert all(math.isfinite(share) and 0 <= share <= 1 for share in found.values())


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_warm_start_replaces_the_start_and_draws_asks_to_where_it_was_good(name):
    """Twenty results of another sweep, best at x = 0.2: asks of the new sweep crowd there from the first one on."""
    earlier = [
        TrialView(n, TrialState.COMPLETE, {"x": (n * 7 % 20) / 20, "y": n / 20}, (abs((n * 7 % 20) / 20 - 0.2),))
        for n in range(20)
    ]
    cold, warm = sampler_for(name, SQUARE), sampler_for(name, SQUARE)
    warm.warm_start(earlier)
    warm.restore([], {})
    for number in range(14):
        for sampler in (cold, warm):
            params = sampler.ask(number)
            value = abs(params["x"] - 0.2)
            sampler.tell(TrialView(number, TrialState.COMPLETE, params, (value,)))
    near = [abs(warm._history.get(n).params["x"] - 0.2) for n in range(14)]
    far = [abs(cold._history.get(n).params["x"] - 0.2) for n in range(14)]
    assert sum(near) < sum(far)


def test_cmaes_begins_at_the_best_of_a_warm_start():
    """Its own start scores 1 throughout, so the first mean after it can only be the other sweep's x = 0.9, y = 0.1."""
    sampler = sampler_for("cmaes", SQUARE, sigma=1e-3)
    sampler.warm_start([TrialView(0, TrialState.COMPLETE, {"x": 0.9, "y": 0.1}, (0.0,))])
    sampler.restore([], {})
    for number in range(8):
        sampler.tell(TrialView(number, TrialState.COMPLETE, sampler.ask(number), (1.0,)))
    assert sampler.ask(8) == pytest.approx({"x": 0.9, "y": 0.1}, abs=0.01)


def test_enqueued_points_come_next_and_are_completed():
    sampler = sampler_for("random", SQUARE)
    first = sampler.ask(0)
    sampler.enqueue([{"x": 0.5}])
    point = sampler.ask(1)
    assert point["x"] == 0.5 and 0.0 <= point["y"] <= 1.0
    assert sampler.ask(2) not in (first, point)
    with pytest.raises(ConfigError, match="not searched"):
        sampler.enqueue([{"z": 1.0}])


@pytest.mark.parametrize("name", ["tpe", "qmc", "random"])
def test_a_warm_start_repeats_no_point_of_the_sweep_that_it_learns_from(name):
    earlier = sampler_for(name, SQUARE)
    tried = [TrialView(n, TrialState.COMPLETE, earlier.ask(n), (1.0,)) for n in range(6)]
    warm = sampler_for(name, SQUARE)
    warm.warm_start(tried)
    warm.restore([], {})
    points = [warm.ask(n) for n in range(6)]
    assert not any(point == view.params for point in points for view in tried)
    longer = sampler_for(name, SQUARE)
    assert points == [longer.ask(n) for n in range(12)][6:]  # the sequence goes on


def test_a_grid_loses_no_cell_to_enqueued_points():
    space = Space((Dimension("a", "categorical", choices=(0, 0.5, 1, 2, 4, 8)),))
    sampler = sampler_for("grid", space)
    views = [TrialView(n, TrialState.COMPLETE, sampler.ask(n), (1.0,)) for n in range(2)]
    sampler.enqueue([{"a": 4}, {"a": 8}])
    for number in (2, 3):
        point = sampler.ask(number)
        assert sampler.origin.enqueued
        views.append(TrialView(number, TrialState.COMPLETE, point, (1.0,), enqueued=True))
    resumed = sampler_for("grid", space)
    resumed.restore(views, {})
    for goes_on in (sampler, resumed):
        assert [goes_on.ask(number) for number in range(4, 9)] == [{"a": 1}, {"a": 2}, {"a": 4}, {"a": 8}, None]
        assert not goes_on.origin.enqueued


@pytest.mark.parametrize(("name", "first"), [("tpe", 6), ("gp", 6), ("cmaes", 6), ("nsga2", 4), ("random", None)])
def test_the_start_is_a_quarter_of_a_short_sweep_and_asks_say_what_they_know(name, first):
    """24 trials, each ends before the next is asked for."""
    keys = {"population": 4} if name == "nsga2" else {}
    plan = SweepPlan("s", 3, 1, 100, (Objective("o0"),), Budget(24, 1000), SQUARE)
    sampler = build_sampler(plan, {"_target_": f"{PACKAGE}.samplers.{name}.{name.capitalize()}", **keys}, NONE)
    informed = []
    for number in range(12):
        params = sampler.ask(number)
        informed.append(sampler.origin.informed_by)
        sampler.tell(TrialView(number, TrialState.COMPLETE, params, (params["x"],)))
    if first is None:
        assert informed == [0] * 12
    else:
        assert informed == [0] * first + list(range(first, 12))


@pytest.mark.parametrize("share", [0, -0.1, 1.5, "a", True])
def test_a_share_in_flight_lies_between_0_and_1(share):
    with pytest.raises(ConfigError, match=r"sampler\.in_flight"):
        sampler_for("tpe", in_flight=share)
    assert sampler_for("tpe", in_flight=None).ask(0)
