"""What may be typed to edit a sweep, and what is refused before anything is written."""

from __future__ import annotations

import pytest

from rnnsweep.app.config.edits import edit_of
from rnnsweep.app.config.load import SweepConfig, from_json, load, to_json
from rnnsweep.errors import ConfigError
from rnnsweep.loader import NAME
from rnnsweep.sweep.edits import KEY, edited
from rnnsweep.sweep.space import Dimension, fixed

SPACE = "space={optimizer.lr:tag(log,interval(0.01,1)),family:choice(srn,lstm),init.sigma:choice(0.1,0.2)}"
SMALL = ["name=s", "task.length=10", "family.hidden=8", "training.eval_size=20", "budget.updates=1200", "tracker=none"]


@pytest.fixture(scope="module")
def config() -> SweepConfig:
    return load("search", [*SMALL, "controllers=[clip,omega]", "pruner=median", SPACE])


def after(config: SweepConfig, *texts: str):
    return edited(config.plan, edit_of(config, texts, "ada"), 5)


def test_a_range_is_put_in_place_of_the_one_before_or_added(config: SweepConfig) -> None:
    plan = after(config, "optimizer.lr=interval(0.1,2)", "+optimizer.momentum=interval(0,0.5)")
    by_key = {one.key: one for one in plan.space}
    assert by_key["optimizer.lr"] == Dimension("optimizer.lr", "float", 0.1, 2.0)
    assert list(plan.space.keys)[:3] == list(config.plan.space.keys)
    assert plan.version.defaults == (fixed("optimizer.momentum", config.resolved["optimizer"]["momentum"]),)
    assert (plan.version.number, plan.version.first) == (1, 5)


def test_a_key_is_dropped_at_the_config_s_value_or_another(config: SweepConfig) -> None:
    plan = after(config, "~init.sigma", "optimizer.lr=0.5")
    assert plan.space.keys == ("family",)
    configured = config.resolved["init"]["sigma"]
    assert plan.version.pins == (fixed("init.sigma", configured), fixed("optimizer.lr", 0.5))


def test_a_whole_space_replaces_and_an_empty_one_drops_all(config: SweepConfig) -> None:
    plan = after(config, "space={family:choice(lstm)}")
    assert plan.space.keys == ("family",)
    assert {pin.key for pin in plan.version.pins} == {"optimizer.lr", "init.sigma"}
    assert len(after(config, "space={}").space) == 0


def test_a_unit_is_chosen_among_those_of_the_launch(config: SweepConfig) -> None:
    plan = after(config, "family=lstm")
    assert fixed("family", "lstm") in plan.version.pins
    beside = after(config, "family.forget_bias=interval(0,2)").space
    assert {one.key: one.when for one in beside}["family.forget_bias"] == {"family": ("lstm",)}


def test_whole_numbers_are_whole(config: SweepConfig) -> None:
    (batch,) = [one for one in after(config, "training.batch=choice(5.0,10.0)").space if one.key == "training.batch"]
    assert [type(choice) for choice in batch.choices] == [int, int]


def test_limits_and_the_pruner(config: SweepConfig) -> None:
    edit = edit_of(config, ["budget.trials=100", "pruner=threshold", "pruner.upper=0.5"])
    assert edit.limits == {"trials": 100}
    assert not edit.searches
    assert edit.pruner is not None
    assert (edit.pruner["upper"], edit.pruner[NAME]) == (0.5, "threshold")
    warmup = edit_of(config, ["pruner.warmup=3"]).pruner
    assert warmup is not None
    assert warmup["warmup"] == 3


REFUSED = {
    "nothing": ([], "says nothing"),
    "a key that is a condition of itself": (
        ["space={optimizer.lr:{low:0.1,high:0.2,when:{optimizer.lr:[0.1]}}}"],
        "optimizer.lr.when.optimizer.lr: is a condition on what is not searched",
    ),
    "a misspelt key": (["optimizer.lrr=interval(0,1)"], "optimizer.lrr: is no key of what the sweep trains"),
    "a value of what is not searched": (["optimizer.momentum=0.5"], "optimizer.momentum: is not searched"),
    "to drop what is not searched": (["~optimizer.momentum"], "optimizer.momentum: is not searched"),
    "another unit": (["family=choice(srn,gru)"], "family='gru': was not composed for this unit"),
    "a unit of a group that was not searched": (["optimizer=choice(sgd,adam)"], "was not composed for this unit"),
    "a controller": (["+controllers=l2"], "controllers.l2: cannot be changed while the sweep lives"),
    "a value that no unit takes": (["optimizer.lr=-1"], "optimizer.lr"),
    "a range that no unit takes": (["optimizer.lr=interval(-1,1)"], "optimizer.lr"),
    "an empty range": (["init.sigma=interval(1,0)"], "range is empty"),
    "a bad tag": (["init.sigma=tag(lug,interval(0,1))"], "unknown tag"),
    "no grammar": (["init.sigma=interval(0,"], "init.sigma"),
    "code": (["init._target_=os.system"], "code cannot be named"),
    "the seed": (["seed=3"], "seed: is not searched"),
    "a key of the sweep": (["training.report_every=interval(1,9)"], "cannot be searched"),
    "updates": (["budget.updates=2000"], "budget.updates: can be raised by resume only"),
    "a smaller budget": (["budget.trials=1"], "may be raised, nothing else"),
    "a misspelt limit": (["budget.trial=100"], "unknown limit"),
    "an unknown pruner": (["pruner=medium"], "pruner='medium': unknown unit"),
    "a misspelt key of the pruner": (["pruner.warmupp=1"], "pruner.warmupp: unknown key"),
    "a pruner's value": (["pruner.warmup=-1"], "pruner.warmup"),
    "a default range": (["optimizer.momentum=default"], "takes its range in words here"),
}


@pytest.mark.parametrize(("texts", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(config: SweepConfig, texts: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        edit_of(config, texts)
    assert said in str(caught.value)


def test_a_grid_needs_cells(config: SweepConfig) -> None:
    grid = load("search", [*SMALL, "sampler=grid", "space={init.sigma:choice(0.1,0.2)}"], check_units=False)
    with pytest.raises(ConfigError, match="a grid needs choices"):
        edit_of(grid, ["optimizer.lr=interval(0.1,1)"])


def test_the_config_that_the_ledger_keeps_has_it(config: SweepConfig) -> None:
    edit = edit_of(config, ["optimizer.lr=0.5", "init.sigma=interval(0,1)", "pruner.warmup=3"])
    plan = edited(config.plan, edit, 4)
    stored = {**to_json(config), KEY: [edit.entry(plan, 1.0)]}
    back = from_json(stored)
    assert back.plan.versions == plan.versions
    assert back.plan.space == plan.space
    assert back.pruner["warmup"] == 3
    assert back.resolved["space"].keys() == config.resolved["space"].keys()  # as launched
    assert to_json(back)[KEY] == stored[KEY]
    # another edit goes on from there; a pinned key may get another value, or be searched again
    again = edited(back.plan, edit_of(back, ["optimizer.lr=0.25"]), 6)
    assert again.version.pins == (fixed("optimizer.lr", 0.25),)
    assert edited(back.plan, edit_of(back, ["optimizer.lr=interval(0.1,1)"]), 6).version.pins == ()
