"""What is searched: ranges, searched groups, conditions."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.config.search_space import from_plain, to_plain
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension, Space

EVERYTHING = str(Path(__file__).with_name("everything.yaml"))


def quick(*overrides, **more):
    return load(EVERYTHING, overrides, check_units=False, **more)


def test_a_fixed_key_is_no_longer_searched():
    config = quick("init.sigma=0.2", "~space.controllers.omega.weight")
    assert "init.sigma" not in config.plan.space.keys
    assert "controllers.omega.weight" not in config.plan.space.keys
    assert config.resolved["init"]["sigma"] == 0.2


def test_the_whole_space_can_be_replaced_or_emptied():
    assert quick("space={}").plan.space.keys == ()
    config = quick("space={optimizer.lr: default, init.sigma: 'interval(0.1, 0.2)'}")
    assert config.plan.space.keys == ("optimizer.lr", "init.sigma")


def test_default_takes_the_units_own_range():
    for typed in ("optimizer.lr=default", "space.optimizer.lr=default"):
        assert quick(typed).plan.space.dimensions[-1] == Dimension("optimizer.lr", "float", 1e-4, 0.1, log=True)


def test_searched_families_compose_once_each():
    config = load(EVERYTHING, ["init=choice(normal,glorot)", "init.gain=tag(log,interval(0.5,2))"])
    assert [dict(variant.groups) for variant in config.variants] == [{"init": "normal"}, {"init": "glorot"}]
    by_key = {dim.key: dim for dim in config.plan.space}
    assert by_key["init"].choices == ("normal", "glorot")
    assert by_key["init.sigma"].when == {"init": ("normal",)}
    assert by_key["init.gain"].when == {"init": ("glorot",)}
    assert list(by_key).index("init") < list(by_key).index("init.sigma"), "parents come first"
    point = resolve_point(config.variants, {"init": "glorot", "init.gain": 1.5})
    assert point["init"]["_target_"] == "rnnsweep.core.inits.glorot.Glorot"
    assert point["init"]["gain"] == 1.5


def test_conditions_on_what_is_not_searched_are_settled():
    space = "space={init.sigma: {low: 0.1, high: 1, when: {init: [%s]}}}"
    assert quick(space % "glorot").plan.space.keys == ()
    assert quick(space % "normal").plan.space.dimensions == (Dimension("init.sigma", "float", 0.1, 1.0),)
    with pytest.raises(ConfigError, match="unknown key in a condition"):
        quick("space={init.sigma: {low: 0.1, high: 1, when: {inti: [normal]}}}")
    one = "init.sigma: {low: 1, high: 2, when: {optimizer.lr: [1]}}"
    two = "optimizer.lr: {low: 1, high: 2, when: {init.sigma: [1]}}"
    with pytest.raises(ConfigError, match="circle"):
        quick(f"space={{{one}, {two}}}")


@pytest.mark.parametrize("families", ["srn,lstm", "lstm,srn"])
@pytest.mark.parametrize(("leak", "exists"), [("1.0", True), ("0.5", False)])
def test_a_condition_on_a_key_of_one_searched_unit_holds_beside_that_unit_only(families, leak, exists):
    """Whatever the order of the choices: lstm has no leak, srn's is 1."""
    space = f"space={{optimizer.lr: {{low: 0.1, high: 1, when: {{family.leak: [{leak}]}}}}}}"
    keys = {dim.key: dim for dim in quick(space, f"family=choice({families})").plan.space}
    assert ("optimizer.lr" in keys) == exists
    assert not exists or keys["optimizer.lr"].when == {"family": ("srn",)}


def test_a_space_survives_as_plain_data():
    space = Space(
        (Dimension("a", "int", 1, 9, step=2), Dimension("b", "categorical", choices=(1, None), when={"a": (1,)}))
    )
    assert from_plain(to_plain(space)) == space
