"""What can change while a trial trains, what sets trials apart, and what is refused before anything is written."""

from __future__ import annotations

import pytest

from rnnsweep.app.config.load import from_json, load, to_json
from rnnsweep.errors import ConfigError, ConfigWarning

BASE = (
    *(
        "name=p",
        "scheduler=pbt",
        "pruner=none",
        "sampler=random",
        "task.length=10",
        "family.hidden=6",
        "engine=reference",
    ),
    *("training.report_every=10", "budget.updates=200", "budget.trials=8", "controllers=[clip]"),
)
LR, CLIP = "optimizer.lr=tag(log,interval(0.001,0.1))", "controllers.clip.threshold=tag(log,interval(0.1,10))"


def loaded(*overrides: str):
    return load(None, [*BASE, *overrides])


def test_what_is_left_open_is_written_down_for_good() -> None:
    config = loaded(LR, CLIP, "init.sigma=interval(0.01,0.1)")
    block = config.resolved["scheduler"]
    assert block["keys"] == ["optimizer.lr", "controllers.clip.threshold"]
    assert (block["apart"], block["members"], block["interval"]) == ([], 8, 20)
    stored = from_json(to_json(config))
    assert stored.scheduler == config.scheduler


def test_keys_of_the_shape_set_trials_apart_and_first_weights_do_not() -> None:
    block = loaded(LR, "family.hidden=choice(6,8)", "init.sigma=interval(0.01,0.1)").resolved["scheduler"]
    assert (block["keys"], block["apart"]) == (["optimizer.lr"], ["family.hidden"])


def test_a_searched_group_sets_trials_apart() -> None:
    block = loaded(LR, "family=choice(srn,lstm)").resolved["scheduler"]
    assert block["apart"] == ["family"]


def test_a_rate_changes_as_long_as_it_is_one() -> None:
    assert "family.output_dropout" in loaded("family.output_dropout=interval(0.1,0.5)").resolved["scheduler"]["keys"]
    with pytest.raises(ConfigError, match="sets every trial apart") as caught:
        loaded(LR, "family.output_dropout=interval(0,0.5)")
    assert caught.value.key == "space.family.output_dropout"
    assert loaded(LR, "family.output_dropout=choice(0,0.5)").resolved["scheduler"]["apart"] == ["family.output_dropout"]


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        ((LR, "scheduler.keys=[init.sigma]", "init.sigma=interval(0.01,0.1)"), "scheduler.keys", "first weights only"),
        ((LR, "scheduler.keys=[family.hidden]", "family.hidden=choice(6,8)"), "scheduler.keys", "program's shape"),
        ((LR, "scheduler.keys=[optimizer.momentum]"), "scheduler.keys", "is not searched"),
        (("init.sigma=interval(0.01,0.1)",), "space", "no searched key can change"),
        ((LR, "scheduler.interval=15"), "scheduler.interval", "multiple of 10"),
        ((LR, "pruner=median"), "pruner", "would judge rungs"),
        ((LR, "budget.patience=3"), "budget.patience", "take over better states"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(overrides: tuple[str, ...], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(*overrides)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_a_sampler_that_could_only_learn_too_late_is_told_of() -> None:
    with pytest.warns(ConfigWarning, match="sampler=tpe never learns: all of a population"):
        config = load("search", [*BASE, "space={}", "sampler=tpe", LR])
    assert config.plan.in_flight is None  # none of them waits for another one's result
