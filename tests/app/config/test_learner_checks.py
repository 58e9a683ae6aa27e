"""Learning rules against family, task and controllers when a config is checked."""

from __future__ import annotations

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

PERIODIC = "task=periodic_output"


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (["learner=hessian_free", "+controllers=l2"], "controllers.l2", "proposes its steps"),
        (["learner=hessian_free", "family=lstm"], "learner", "a loop of simple cells"),
        (["learner=hessian_free", "family=scornn"], "learner", "own parameters"),
        (["learner=rflo", "family=gru"], "learner", "a loop of simple cells"),
        (["learner=teacher_forcing"], "learner", "a target at every step"),
        (["learner=teacher_forcing", PERIODIC], "learner.units", "fed back"),
        (["learner=teacher_forcing", PERIODIC, "learner.units=[50]"], "learner.units", "do not match"),
        (
            ["learner=teacher_forcing", PERIODIC, "learner.units=[0]", "+controllers=omega"],
            "controllers.omega",
            "gradient record",
        ),
        (["learner.horizon=0"], "learner.horizon", "out of range"),
        (["+controllers=omega", "controllers.omega.schedule.kind=slow"], "controllers.omega.schedule.kind", "unknown"),
        (["+controllers=gradient_flossing", "family=lstm"], "controllers.gradient_flossing", "a loop of simple cells"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_refused_with_its_key(overrides, key, words):
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    assert caught.value.key == key
    assert words in caught.value.problem


@pytest.mark.parametrize(
    "overrides",
    [
        ["learner=hessian_free"],
        ["learner=rflo", "family.leak=0.1", "+controllers=omega"],
        ["learner=teacher_forcing", PERIODIC, "family=srn_feedback"],
        ["learner=teacher_forcing", PERIODIC, "learner.units=[3]", "family=lstm"],
        [
            *("+controllers=omega", "controllers.omega.weight=1"),
            *("controllers.omega.schedule.kind=inverse", "controllers.omega.schedule.epoch=50"),
        ],
        ["init=chrono", "family=lstm", "init.longest=300"],
        ["init=henaff", "family=scornn"],
    ],
    ids=" ".join,
)
def test_what_fits_is_accepted(overrides):
    assert load(None, overrides).plan.seed == 0
