"""From the ledger to what a report draws: chance of the task, moments of training, luck of importances, formats."""

from __future__ import annotations

import dataclasses
import math

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.results import report_data
from rnnsweep.app.results.report_data import chance, gather, noise, overview_picture, report_sweep, values_frame
from rnnsweep.app.run import launch as runs
from rnnsweep.app.stores import place, reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.report import page
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

SMALL = ["task.length=10", "family.hidden=6", "training.eval_size=10", "cluster=inline", "tracker=none", "space={}"]


@pytest.mark.parametrize(
    ("overrides", "level"),
    [
        (["task=temporal_order", "objective.metric=valid/loss"], math.log(4)),
        (["task=temporal_order_3bit"], 7 / 8),
        (["task=copying", "objective.metric=valid/loss"], 10 * math.log(8) / 120),  # 10 ln 8 / (T + 20)
        (["task=adding", "objective.metric=valid/loss"], 1 / 24),
        (["task=adding", "objective.metric=solved_at"], None),
        (["task=temporal_order", "task.length=choice(20,50)"], 0.75),  # the same at every length
        (["task=copying", "objective.metric=valid/loss", "task.length=choice(20,50)"], None),
        (["task=choice(temporal_order,temporal_order_3bit)"], None),
    ],
)
def test_chance_is_what_the_task_says(overrides, level):
    found = chance(load(None, [*overrides, "controllers=[clip]"]))
    assert found == (None if level is None else pytest.approx(level, rel=1e-3))


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        ((200, 200), [("end", 200)]),
        ((200, 400), [("start", 200), ("end", 400)]),
        ((200, 400, 800, 1000), [("start", 200), ("middle", 400), ("end", 1000)]),
        ((200, 3000, 6000), [("start", 200), ("middle", 3000), ("end", 6000)]),  # checkpoints of earlier versions
        ((200, 400, 400), [("start", 200), ("end", 400)]),
    ],
)
def test_moments_of_training(updates, expected):
    assert report_data._moments(updates) == expected


def complete(number, value, **params):
    return TrialView(number, TrialState.COMPLETE, params, (value,))


ERROR = Objective("valid/error")


def plan(*dimensions, objectives=(ERROR,)):
    return SweepPlan("noise", 0, 1, 10, objectives, Budget(30, 10), Space(dimensions))


def test_noise_tells_a_key_that_decides_from_one_that_does_not():
    keys = (Dimension("a", "float", low=0.0, high=1.0), Dimension("b", "float", low=0.0, high=1.0))
    trials = [complete(n, n / 30, a=n / 30, b=(n * 7 % 30) / 30) for n in range(30)]
    level = noise(plan(*keys), trials)
    shares = report_data.importances(plan(*keys), trials)
    assert level is not None
    assert shares["b"] < level <= 1.0
    assert noise(plan(*keys), trials) == level  # the same in every report
    assert noise(plan(keys[0]), trials) is None  # one key has all of it, whatever it does
    assert noise(plan(*keys), trials[:3]) is None


def test_several_objectives_reach_the_report():
    two = plan(objectives=(Objective("valid/error"), Objective("valid/loss")))
    trials = [TrialView(0, TrialState.COMPLETE, {}, (0.1, 2.0)), TrialView(1, TrialState.FAILED, {})]
    frame = values_frame(two, trials)
    assert frame.to_dict("records") == [{"trial": 0, "valid/error": 0.1, "valid/loss": 2.0}]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A sweep of two trials that train for five rungs."""
    root = tmp_path_factory.mktemp("store")
    sizes = ["budget.trials=2", "budget.updates=50", "training.report_every=10", "training.stop_solved=false"]
    searched = ["init.sigma=tag(log,interval(0.05,0.3))", "pruner=none", "sampler=random"]
    config = load(
        "quickstart",
        [*SMALL[:-1], "space={init.sigma:'tag(log,interval(0.05,0.3))'}", *sizes, *searched[1:]],
        store=root,
    )
    runs.launch(config)
    return root


def test_a_real_sweep_has_start_middle_and_end(store):
    with reading_sweep(place(store), "quickstart") as (ledger, view):
        data = gather(ledger, view, store)
    moments = data.profiles.groupby("trial")["update"].agg(lambda updates: sorted(set(updates))).tolist()
    assert moments == [[10, 20, 50], [10, 20, 50]]  # rungs 1, 2 (nearer to 25 than 40) and 5
    assert data.chance == 0.75


@pytest.mark.parametrize(("sampler", "informed"), [("tpe", [0, 0, 3]), ("random", None)])
def test_the_report_knows_what_asks_knew_where_the_sampler_learns(sampler, informed):
    config = load(None, ["optimizer.lr=tag(log,interval(0.01,0.1))", f"sampler={sampler}", "budget.trials=3"])
    trials = [dataclasses.replace(complete(n, 0.5), informed_by=3 if n == 2 else 0) for n in range(3)]
    frame = report_data._trials(trials, config)
    assert (frame["informed"].tolist() if informed is not None else "informed" not in frame) == (informed or True)


def test_formats_are_written_beside_the_pictures_and_mistakes_before(store, tmp_path):
    with pytest.raises(ConfigError, match="svg, pdf"):
        report_sweep(place(store), "quickstart", tmp_path / "no", ["gif"])
    assert not (tmp_path / "no").exists()
    page = report_sweep(place(store), "quickstart", tmp_path / "out", ["svg"])
    pictures = {path.stem for path in page.parent.glob("*.png")} - {"overview"}
    assert {path.stem for path in page.parent.glob("*.svg")} == pictures


def test_a_sweep_is_drawn_once_for_each_state(store, monkeypatch):
    """When a session ends, the terminal and the thread that writes MLflow ask for the same picture."""
    drawn, paint = [], page.write_overview
    monkeypatch.setattr(page, "write_overview", lambda data, out: drawn.append(data.state) or paint(data, out))
    at = place(store)
    with reading_sweep(at, "quickstart") as (ledger, view):
        first = overview_picture(at, ledger, "quickstart")
        assert first is not None and first == overview_picture(at, ledger, "quickstart")
        assert len(drawn) == 1
        first.unlink()
        assert overview_picture(at, ledger, "quickstart") == first and first.is_file()
        monkeypatch.setattr(ledger, "sweep", lambda name: dataclasses.replace(view, updated=view.updated + 1))
        overview_picture(at, ledger, "quickstart")
    assert len(drawn) == 3
