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

UNITS = [
    (f"{g}.{n}", b["_target_"])
    for g in (*UNIT_GROUPS, "sampler", "pruner", "scheduler")
    for n, b in unit_blocks(g).items()
]


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


RUNGS = {
    "typed alone": ("", ["budget.updates=20"], 20, 1),
    "in a file that does not speak of rungs": ("budget: {updates: 100}", [], 100, 1),
    "typed below a file's rung": ("training: {report_every: 500}", ["budget.updates=70"], 70, 1),
    "typed below a file's evaluation": ("training: {report_every: 50, eval_every: 4}", ["budget.updates=120"], 50, 3),
    "a budget of several rungs": ("training: {report_every: 50, eval_every: 2}", ["budget.updates=120"], 50, 2),
}


@pytest.mark.parametrize("case", RUNGS)
def test_a_budget_below_a_rung_that_was_not_written_for_it_is_one_rung(tmp_path, case):
    written, typed, every, evaluated = RUNGS[case]
    file = tmp_path / "mine.yaml"
    file.write_text(f"defaults: [config]\n{written}\n")
    config = load(str(file), typed, check_units=False)
    assert (config.plan.report_every, config.resolved["training"]["eval_every"]) == (every, evaluated)


@pytest.mark.parametrize(
    ("written", "typed", "message"),
    [
        ("budget: {updates: 100}\ntraining: {report_every: 300}", [], "mine.yaml: training.report_every=300: no rung"),
        ("", ["budget.updates=100", "training.report_every=300"], "command line: training.report_every=300: no rung"),
        ("", ["training.report_every=3000"], "at most budget.updates=2000. Set training.report_every=2000"),
        ("", ["training.eval_every=30"], "Set training.eval_every=10, or more updates."),
    ],
)
def test_a_rung_that_was_written_for_its_budget_is_not_changed(tmp_path, written, typed, message):
    file = tmp_path / "mine.yaml"
    file.write_text(f"defaults: [config]\n{written}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file), typed, check_units=False)
    assert message in str(caught.value)


def test_a_value_of_the_base_config_is_not_blamed_on_the_command_line(monkeypatch):
    def refuse(resolved):
        raise ConfigError("on purpose", key="training.batch", value=resolved["training"]["batch"])

    monkeypatch.setattr("rnnsweep.app.config.load.check_values", refuse)
    with pytest.raises(ConfigError, match=r"^/.*config\.yaml: training\.batch=20: on purpose"):
        load(None, ["seed=3"], check_units=False)
    with pytest.raises(ConfigError, match=r"^command line: training\.batch=7: on purpose"):
        load(None, ["training.batch=7"], check_units=False)
