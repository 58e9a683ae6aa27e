"""Which keys may change while trials train, at which updates, and what is refused before anything is written."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from rnnsweep.app.config.edits import edit_of
from rnnsweep.app.config.load import SweepConfig, from_json, load, to_json
from rnnsweep.errors import ConfigError, ConfigWarning

BASE = (
    *("name=f", "sampler=random", "task=adding", "task.length=40", "family.hidden=6", "engine=reference", "space={}"),
    *("training.report_every=10", "budget.updates=200", "budget.trials=8", "pruner=none"),
)
LENGTHS = "fidelity={task.length: [10, 20, 40]}"


def loaded(*overrides: str) -> SweepConfig:
    return load(None, [*BASE, *overrides])


def settled(*overrides: str) -> dict:
    return loaded(*overrides).resolved["fidelity"]


@pytest.mark.parametrize(
    ("scheduler", "updates"),
    [
        (("scheduler=asha", "scheduler.eta=3"), [0, 10, 30]),  # milestones at 10, 30, 90
        (("scheduler=asha", "scheduler.min_updates=50"), None),  # at 50 alone, as 200 is the end
        (("scheduler=asha", "scheduler.eta=3", "training.eval_every=2"), [0, 20, 40]),  # with their evaluation
        (("scheduler=pasha",), [0, 10, 30]),
        (("scheduler=hyperband",), [0, 10, 30]),  # of the first bracket
        ((), [0, 70, 140]),  # thirds, whole rungs
        (("training.eval_every=10",), [0, 100]),
    ],
)
def test_a_list_has_a_value_for_each_level_or_equal_parts(scheduler, updates) -> None:
    if updates is None or len(updates) < 3:
        with pytest.raises(ConfigError, match="has 3 values") as caught:
            settled(LENGTHS, *scheduler)
        assert (caught.value.key, caught.value.allowed) == ("fidelity.task.length", "at most 2 values")
    else:
        assert settled(LENGTHS, *scheduler) == {"task.length": dict(zip(map(str, updates), (10, 20, 40), strict=True))}


def test_what_the_ledger_keeps_says_the_same_as_what_was_typed() -> None:
    config = loaded(LENGTHS, "scheduler=asha")
    again = from_json(to_json(config))
    assert again.plan.stages == config.plan.stages
    assert [(one.rung, dict(one.values)) for one in again.plan.stages] == [
        (0, {"task.length": 10}),
        (1, {"task.length": 20}),
        (4, {"task.length": 40}),
    ]


def test_it_may_be_nested_typed_key_by_key_and_laid_over_a_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("fidelity:\n  task: {length: {0: 10, 100: 40}}\n", encoding="utf-8")
    alone = load(str(file), BASE).resolved["fidelity"]
    assert alone == {"task.length": {"0": 10, "100": 40}}
    both = load(str(file), [*BASE, "task.train_size=100", "fidelity.task.train_size={0: 10, 50: 100}"])
    assert both.resolved["fidelity"] == {**alone, "task.train_size": {"0": 10, "50": 100}}
    assert [one.rung for one in both.plan.stages] == [0, 5, 10]
    assert load(str(file), [*BASE, "fidelity.task.length=null"]).plan.stages == ()
    assert load(str(file), [*BASE, "fidelity={}"]).plan.stages == ()


def test_whole_numbers_are_as_the_units_take_them() -> None:
    grown = settled("task.train_size=100", "fidelity={task.train_size: [10.0, 100]}")["task.train_size"]
    assert [type(value) for value in grown.values()] == [int, int]


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (("fidelity={task.lenght: [10, 40]}",), "fidelity.task.lenght", "Did you mean 'task.length'"),
        (("fidelity={optimizer.lr: [1, 2]}",), "fidelity.optimizer.lr", "cannot change while trials train"),
        (("fidelity={task.path: [1, 2]}", "task=table"), "fidelity.task.path", "cannot change while trials train"),
        (("fidelity={task.length: [10, 20]}",), "fidelity.task.length", "task.length=40"),
        (("fidelity={task.length: [5, 40]}",), "fidelity.task.length", "whole number >= 10"),
        (("fidelity={task.length: 40}",), "fidelity.task.length", "says nothing that could change"),
        (("fidelity={task.length: [ten, 40]}",), "fidelity.task.length", "no value that could grow"),
        (("fidelity={task.length: {0: 10, 15: 40}}",), "fidelity.task.length", "multiples of training.report_every=10"),
        (("fidelity={task.length: {10: 10, 20: 40}}",), "fidelity.task.length", "allowed: 0, and"),
        (("fidelity={task.length: {0: 10, 200: 40}}",), "fidelity.task.length", "below 200"),
        (("fidelity=[10, 40]",), "fidelity", "is no mapping"),
        (("fidelity.task.length=10,40",), "fidelity.task.length", "fidelity.task.length=[VALUE, ...]"),
        ((LENGTHS, "space.task.length=choice(20,40)"), "fidelity.task.length", "is searched"),
        ((LENGTHS, "pruner=median"), "pruner", "different fidelity"),
        ((LENGTHS, "scheduler=asha", "objective.metric=solved_at"), "objective.metric", "before full fidelity"),
        (("fidelity={training.data_share: [0.1, 1]}",), "fidelity.training.data_share", "sequences without end"),
        (("task.train_size=9", "fidelity={training.data_share: [-1, 1]}"), "fidelity.training.data_share", "> 0"),
        (
            ("task=sequence_chaining", "fidelity={task.segments: [2, 4]}"),
            "fidelity.task.segments",
            "would be another network",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(overrides, key, words) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(*overrides)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_values_that_are_all_the_same_change_nothing_and_a_line_says_so() -> None:
    with pytest.warns(ConfigWarning, match=r"fidelity\.task\.length changes nothing"):
        assert settled("fidelity={task.length: [40, 40]}") == {}


def test_the_default_pruner_goes_and_an_edit_brings_neither_it_nor_the_key_back() -> None:
    without = [word for word in BASE if word != "pruner=none"]
    with pytest.warns(ConfigWarning, match="pruner=median, the default, is off: values of different fidelity"):
        config = load(None, [*without, LENGTHS])
    with pytest.raises(ConfigError, match="different fidelity"):
        edit_of(config, ["pruner=median"])
    with pytest.raises(ConfigError, match="changes while trials train"):
        edit_of(config, ["task.length=choice(20,40)"])


def test_a_config_without_it_is_what_it_was() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = loaded()
    assert (config.plan.stages, config.resolved["fidelity"]) == ((), {})


@pytest.mark.parametrize("update", ["-10", "10.0", "1e2"])
def test_an_update_that_is_no_whole_number_is_named_as_one(update: str) -> None:
    with pytest.raises(ConfigError, match="is no update to change at") as caught:
        loaded(f"fidelity={{task.length: {{0: 10, {update}: 40}}}}")
    assert caught.value.key == "fidelity.task.length"
    assert caught.value.allowed == "0, and multiples of training.report_every=10 below 200"
