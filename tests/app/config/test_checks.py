"""Whole numbers that are written as floats: converted once, everywhere; where that cannot be meant, refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rnnsweep.app.config.checks import UNIT_GROUPS
from rnnsweep.app.config.load import load, unit_blocks
from rnnsweep.errors import ConfigError
from rnnsweep.loader import load_class
from rnnsweep.unit import Range

EVERYTHING = str(Path(__file__).with_name("everything.yaml"))

UNITS = [(f"{g}.{n}", b["_target_"]) for g in (*UNIT_GROUPS, "sampler", "pruner") for n, b in unit_blocks(g).items()]


@pytest.mark.parametrize(("name", "target"), UNITS)
def test_every_whole_number_of_a_unit_says_its_range(name, target):
    """What is not declared would reach kernels as a float: a size that is read as an address."""
    unit = load_class(target, name)
    for field in dataclasses.fields(unit):
        # as written: `get_type_hints` answers nothing for units, see `Unit`
        if not field.init or field.type not in ("int", "int | None"):
            continue
        allowed = {**unit.rows, **unit.fixed}.get(field.name)
        assert isinstance(allowed, tuple) or (isinstance(allowed, Range) and allowed.integer), f"{name}.{field.name}"


FLOATS = [
    *("family.hidden=5e1", "training.batch=2e1", "budget.trials=1e1", "replicas=2.0", "seed=1e0", "cluster.rows=4.0"),
    *("controllers.sampling.horizon=5.0", "learner.horizon=1e1", "cluster.gpus_per_worker=0.0"),
]


@pytest.mark.parametrize("override", FLOATS)
def test_a_whole_number_written_as_a_float_is_one(override):
    key, _, text = override.partition("=")
    value = load(EVERYTHING, [override]).resolved
    for part in key.split("."):
        value = value[part]
    assert value == float(text)
    assert isinstance(value, int)


def test_choices_of_whole_numbers_are_ints():
    config = load(EVERYTHING, ["family.hidden=choice(16.0,32)", "training.batch=choice(5e0,20)"])
    by_key = {dim.key: dim.choices for dim in config.plan.space}
    assert [type(value) for key in ("family.hidden", "training.batch") for value in by_key[key]] == [int] * 4


WRONG = {
    "family.hidden=interval(16,32)": "int(interval(16,32))",
    "family.hidden=tag(log,interval(16,256))": "int(tag(log,interval(16,256)))",
    "training.batch=interval(5,40)": "int(interval(5,40))",
    "training.batch=choice(0,a,20)": "a whole number >= 1",
    "training.batch=int(interval(0,40))": "a whole number >= 1",
    "replicas=100000000": "<= 100000",
    "training.eval_size=1000000000": "<= 16777216",
    "budget.trials=1e30": "<= 10000000",
    "seed=99999999999999999999": "<= 9223372036854775807",
    "task.length=100000000": "at most",
    "task.length=choice(20,100000000)": "at most",
    "training.batch=10000000": "at most",
}


@pytest.mark.parametrize("override", WRONG)
def test_what_no_one_can_mean_or_nothing_holds_is_refused(override):
    with pytest.raises(ConfigError) as caught:
        load(EVERYTHING, [override])
    assert WRONG[override] in str(caught.value)
    assert str(caught.value).startswith("command line: ")


@pytest.mark.parametrize("number", ["0", "1", "2"])
def test_a_key_whose_default_is_a_word_takes_numbers(number):
    assert load(EVERYTHING, [f"cluster.gpus_per_worker={number}"]).cluster.gpus_per_worker == int(number)


@pytest.mark.parametrize("value", ["0.5", "-1", "some", "true", "[1]"])
def test_gpus_are_whole_or_auto(value):
    with pytest.raises(ConfigError, match="a whole number from 0 to 64, or auto"):
        load(EVERYTHING, [f"cluster.gpus_per_worker={value}"])
