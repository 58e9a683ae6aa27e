"""What is allowed and does nothing is said before training; what does something, is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigWarning

EVERYTHING = str(Path(__file__).with_name("everything.yaml"))

BARE = ("space={family.rho:'interval(0.8,1)'}",)
IDLE = {
    "an empty space": (["space={}"], "nothing is searched, so the sweep ends with its one point, trained once"),
    "an empty space, again and again": (
        ["space={}", "budget.repeat=true"],
        "nothing is searched, so all 24 trials train the same point",
    ),
    "a used-up space": (["space={init.sigma:choice(0.1,0.2)}"], "the space has 2 points, fewer than budget.trials=24"),
    "unread settings": (["cluster=inline", "cluster.workers=4"], "cluster.workers=4 is not read"),
    "nothing tracked": (["tracker=none", "tracker.points=50"], "tracker.points is not read"),
    "a sampler that never learns": (["sampler=gp", "budget.trials=9"], "sampler=gp never learns: its first 12 trials"),
    "a pruner that never judges": (["pruner=median", "budget.updates=400"], "pruner=median never judges: a trial has"),
    "arms of a controller that is off": (
        ["controllers.omega.weight=0", "controllers.omega.form=choice(ratio,ratio_sq)"],
        "controllers.omega.form is searched but changes nothing: controllers.omega is off in every trial (weight=0)",
    ),
    "a scheduler without a milestone": (
        ["scheduler=asha", "scheduler.min_updates=6000", "pruner=none"],
        "scheduler=asha does nothing: a trial ends at update 6000, and the first milestone is at 6000",
    ),
    "a scheduler with nobody to compare": (
        ["scheduler=hyperband", "pruner=none", "budget.trials=1", "space={}"],
        "scheduler=hyperband does nothing: one trial has nobody to compete with",
    ),
    "races that nobody can lose": (
        ["replicas=5", "racing.level=0.01", "racing.block=2", "budget.trials=9"],
        "racing.level=0.01 stops no trial: the last of 9 trials has 2 rivals, whom 2 replicas are compared with",
    ),
    "a block without races": (["racing.block=3"], "racing.block changes nothing without racing.level"),
    "a setting of a controller that is off": (
        ["controllers.omega.weight=0", "controllers.omega.form=ratio"],
        "controllers.omega.form is set but changes nothing",
    ),
    "a regulariser without gradient": (
        ["family=scornn"],
        "controllers.omega changes nothing: an orthogonal matrix keeps every error's norm, so the immediate gradient",
    ),
    "clipping of what nobody takes": (
        ["learner=ridge", "family=esn", *BARE, "controllers=[clip]", "sampler=random"],
        "controllers.clip changes nothing: the learning rule ridge proposes its steps itself",
    ),
    "a loop that nothing sets going": (
        ["task=periodic_output", "task.length=30", "family=lru", "controllers=[clip]", "space={init.sigma: default}"],
        "family=lru stands still at 0: task=periodic_output has no inputs",
    ),
    "a key without its schedule": (["optimizer.span=50"], "optimizer.span is set but changes nothing"),
    "a searched key without its momentum": (
        ["optimizer.momentum=0", "optimizer.nesterov=choice(true,false)"],
        "optimizer.nesterov is searched but changes nothing: optimizer.momentum=0",
    ),
    "a deviation of weights that there are not": (
        ["family=scornn", "~controllers.omega", "~controllers.sampling", "init.sigma_rec=0.1"],
        "init.sigma_rec is set but changes nothing: family=scornn has no weights of the role recurrent",
    ),
    "a rate of a group that there is not": (
        ["optimizer=grouped", "optimizer.lr_phase=0.1"],
        "optimizer.lr_phase is set but changes nothing: family=srn has no parameters of the group phase",
    ),
    "a rate of an optimiser that is not asked": (
        ["family=esn", "learner=ridge", "controllers=[]", *BARE, "sampler=random", "optimizer.lr=0.1"],
        "optimizer.lr is set but changes nothing: the learning rule ridge makes its own steps",
    ),
    "a part of a schedule": (
        ["controllers.omega.schedule.epoch=5"],
        "controllers.omega.schedule.epoch is set but changes nothing: its schedule.kind is constant",
    ),
    "a curve's value of what is one number": (
        ["objective={metric: solved_at, take: best}"],
        "objective.take is not read: when a replica solved its task is one number",
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
    ["family=scornn", "controllers.omega.state=pre"],
    ["family=scornn", "controllers.omega.state=choice(post,pre)"],
    ["family=srn", "learner=rflo"],
    ["optimizer.span=50", "optimizer.schedule=cosine"],
    ["optimizer.span=50", "optimizer.schedule=choice(constant,cosine)"],
    ["optimizer.nesterov=true", "optimizer.momentum=choice(0,0.9)"],
    ["family=choice(srn,scornn)", "~controllers.omega", "~controllers.sampling", "init.sigma_rec=0.1"],
    [
        "controllers.omega.schedule.epoch=5",
        "controllers.omega.schedule.kind=inverse",
        "controllers.omega.schedule.unit=epoch",
    ],
]


@pytest.mark.parametrize("case", IDLE)
def test_what_does_nothing_is_said(case):
    overrides, line = IDLE[case]
    with pytest.warns(ConfigWarning) as caught:
        load(EVERYTHING, overrides)
    messages = [str(warning.message) for warning in caught]
    assert sum(line in message for message in messages) == 1


@pytest.mark.parametrize("overrides", BUSY, ids=" ".join)
def test_what_does_something_is_not(overrides):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConfigWarning)
        load(EVERYTHING, overrides)


def test_one_trial_is_no_sweep():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConfigWarning)
        load(None)
