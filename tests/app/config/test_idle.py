"""What is allowed and does nothing is said before training; what does something, is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigWarning

EVERYTHING = str(Path(__file__).with_name("everything.yaml"))

IDLE = {
    "an empty space": (["space={}"], "nothing is searched, so all 24 trials train the same point"),
    "a used-up space": (["space={init.sigma:choice(0.1,0.2)}"], "the space has 2 points, fewer than budget.trials=24"),
    "unread settings": (["cluster=inline", "cluster.workers=4"], "cluster.workers=4 is not read"),
    "nothing tracked": (["tracker=none", "tracker.points=50"], "tracker.points is not read"),
    "a sampler that never learns": (["sampler=gp", "budget.trials=9"], "sampler=gp never learns: its first 12 trials"),
    "a pruner that never judges": (["pruner=median", "budget.updates=400"], "pruner=median never judges: a trial has"),
    "arms of a controller that is off": (
        ["controllers.omega.weight=0", "controllers.omega.form=choice(ratio,ratio_sq)"],
        "controllers.omega.form is searched but changes nothing: controllers.omega is off in every trial (weight=0)",
    ),
    "a setting of a controller that is off": (
        ["controllers.omega.weight=0", "controllers.omega.form=ratio"],
        "controllers.omega.form is set but changes nothing",
    ),
    "a condition that never holds": (
        ["space={init.sigma: {low: 0.1, high: 1, when: {family: [lstm]}}, optimizer.lr: default}"],
        "init.sigma is never searched: its condition family=lstm does not hold",
    ),
}  # fmt: skip

BUSY = [
    [],
    ["space={}", "budget.trials=1"],
    ["space={}", "seeds=independent"],
    ["controllers.omega.weight=0"],
    ["controllers.omega.form=choice(ratio,ratio_sq)"],
    ["cluster=inline"],
    ["pruner=median"],
]


@pytest.mark.parametrize("case", IDLE)
def test_what_does_nothing_is_said(case):
    overrides, line = IDLE[case]
    with pytest.warns(ConfigWarning) as caught:
        load(EVERYTHING, overrides)
    (message,) = (str(warning.message) for warning in caught)
    assert line in message


@pytest.mark.parametrize("overrides", BUSY, ids=" ".join)
def test_what_does_something_is_not(overrides):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConfigWarning)
        load(EVERYTHING, overrides)


def test_one_trial_is_no_sweep():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConfigWarning)
        load(None)
