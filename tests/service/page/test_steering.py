"""What the buttons do, and refuse."""

from __future__ import annotations

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.service.front import QueuedSweep, QueueState
from rnnsweep.service.page.steering import NOTICES, Steering
from tests.kit.live_page import NAME


def press(front, act, **form):
    return Steering(front).do(NAME, "ada", {"act": act, **form})


@pytest.mark.parametrize(
    ("act", "form", "call"),
    [
        ("stop", {}, ("stop", NAME, "stopped by ada")),
        ("pause", {}, ("pause", NAME, "paused by ada")),
        ("resume", {}, ("resume", NAME, ())),
        ("end_trial", {"trial": "#17"}, ("request", NAME, "end_trial", {"trial": 17, "reason": "asked by ada"})),
        ("pause_trial", {"trial": " 18 "}, ("request", NAME, "pause_trial", {"trial": 18, "reason": "asked by ada"})),
        ("unpause_trial", {"trial": "17"}, ("request", NAME, "unpause_trial", {"trial": 17, "reason": "asked by ada"})),
        ("budget", {"budget.trials": "80"}, ("request", NAME, "budget", {"trials": 80})),
        ("enqueue", {"point.init.sigma": "0.1"}, ("request", NAME, "enqueue", {"points": [{"init.sigma": 0.1}]})),
        ("enqueue", {}, ("request", NAME, "enqueue", {"points": [{}]})),
        (
            "edit",
            {"overrides": "optimizer.lr=interval(0.1,1) '~init.sigma'"},
            ("request", NAME, "edit", {"overrides": ["optimizer.lr=interval(0.1,1)", "~init.sigma"], "by": "ada"}),
        ),
    ],
)
def test_each_button_calls_the_front_once(front, act, form, call):
    assert press(front, act, **form) == act
    assert front.calls == [call]
    assert act in NOTICES


def test_a_sweep_that_does_not_run_is_resumed_with_the_raised_budget(front):
    front.lines = [QueuedSweep(NAME, QueueState.PAUSED, "ada")]
    press(front, "budget", **{"budget.updates": "12000", "budget.trials": " "})
    assert front.calls == [("resume", NAME, ("budget.updates=12000",))]


@pytest.mark.parametrize(
    ("act", "form", "message"),
    [
        ("", {}, "no such act"),
        ("launch", {}, "allowed: stop, pause"),
        ("end_trial", {"trial": "7000"}, "trial=7000: sweep 'temporal-order' has no such trial; allowed: 0 to 39"),
        ("end_trial", {"trial": "0"}, "trial=0: has ended: it is COMPLETE"),
        ("end_trial", {"trial": "-1"}, "is no trial's number"),
        ("end_trial", {"trial": "²"}, "is no trial's number"),
        ("end_trial", {}, "is no trial's number"),
        ("budget", {"budget.trials": "10"}, "budget.trials=10: may be raised, nothing else; allowed: 60 or more"),
        ("budget", {"budget.updates": "12000"}, "can be raised by resume only"),
        ("budget", {"budget.trials": "many"}, "budget.trials"),
        ("budget", {"budget.trials": "80 seed=1"}, "budget.trials"),
        ("budget", {"budget.patience": "3"}, "budget.patience"),
        ("budget", {"budget.trials": ""}, "nothing to raise"),
        ("edit", {"overrides": "'optimizer.lr=1"}, "overrides: No closing quotation"),
        ("enqueue", {"point.init.sigma": "7"}, "points.0.init.sigma=7: is no value of what is searched"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_asked(front, act, form, message):
    with pytest.raises(ConfigError) as told:
        press(front, act, **form)
    assert message in str(told.value)
    assert front.calls == []
