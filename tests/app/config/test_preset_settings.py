"""Settings of presets that the papers' scripts have, beside where they come from."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest, uniform

from rnnsweep.app.config.load import load
from rnnsweep.app.config.point import lookup, resolve_point
from rnnsweep.core.build import build_program, build_units, initial_state
from rnnsweep.core.pack import Streams

ALARM = 1e-6
"""Probability of a false alarm of one statistical check over the choice of seeds."""

SETTINGS = {
    # Pascanu et al. (2013): 45 clips a cost summed over 200 steps, ours is the mean
    "pascanu_ptb": {"space": {"controllers.clip.threshold": (math.inf, 45 / 200)}},
    # 1 / (2t) is the whole weight
    "pascanu_music": {"space": {"controllers.omega.weight": (0, 1)}},
    # Nguyen et al. (2020), their scripts
    "momentum_timit": {"family.forget_bias": -4, "space": {"family.forget_bias": (-8,)}},
    "momentum_smnist": {"optimizer.alpha": 0.9, "space": {"family.beta": (0.9,)}},
    "momentum_pmnist": {"optimizer.alpha": 0.9},
    # TensorFlow 1: RMSprop's decay is .9, Adagrad's sum starts from .1
    "scornn_adding": {"optimizer.settings.skew.alpha": 0.9},
    "scornn_copying": {"optimizer.settings.skew.alpha": 0.9, "optimizer.settings.main.alpha": 0.9},
    "scornn_digits": {"optimizer.settings.skew.alpha": 0.9, "optimizer.settings.main.alpha": 0.9},
    "enrnn_adding": {"optimizer.settings.skew.alpha": 0.9, "optimizer.settings.main.alpha": 0.9},
    "enrnn_copying": {"optimizer.settings.skew.alpha": 0.9, "optimizer.settings.main.alpha": 0.9},
    # Maduranga, Helfrich, Ye (2019), their scripts
    "scurnn_copying": {
        "family.hidden": 130,
        "task.length": 2000,
        "optimizer.lr_phase": 1e-4,
        "optimizer.settings.skew.alpha": 0.9,
        "optimizer.settings.phase.initial": 0.1,
    },
    "scurnn_adding": {
        "family.angle": 2 * math.pi,
        "family.bias_bound": 0.01,
        "family.hidden": 116,
        "task.length": 750,
        "optimizer.lr_phase": 1e-3,
    },
    "scurnn_digits": {"optimizer.settings.phase.initial": 0.1},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_the_scripts(name):
    config = load(name, check_units=False)
    wanted = dict(SETTINGS[name])
    for key, choices in wanted.pop("space", {}).items():
        assert next(d for d in config.plan.space if d.key == key).choices == choices
    # Keys of a family that is searched stand in the variants that have them.
    for key, value in wanted.items():
        values = {lookup(variant.resolved, key) for variant in config.variants} - {None}
        assert values == {value}, key


def test_only_the_plain_lstm_adds_up_two_biases():
    config = load("momentum_timit", check_units=False)
    bias = {
        cell["family"]: lookup(resolve_point(config.variants, cell), "family.forget_bias")
        for cell in config.plan.space.grid()
    }
    assert bias == {"lstm": -8} | dict.fromkeys(
        ("momentum_lstm", "adam_lstm", "rmsprop_lstm", "nesterov_lstm_diff"), -4
    )


@pytest.mark.parametrize(
    ("name", "inputs", "angle"),
    [("scurnn_copying", 10, math.pi / 2), ("scurnn_adding", 2, 2 * math.pi), ("scurnn_digits", 1, math.pi / 2)],
)
def test_scurnn_starts_as_in_the_scripts(name, inputs, angle):
    """U [I, 2H] is one Glorot matrix, A = tan(t / 2) with t ~ U(0, angle), b and h_0 ~ U(-.01, .01)."""
    config = load(name, ["dtype=float64"], check_units=False)
    resolved = resolve_point(config.variants, {})
    if name == "scurnn_digits":
        resolved["task"]["source"] = "sklearn"
    units = build_units(resolved)
    H, row = (
        units.family.hidden,
        initial_state(build_program(resolved, units, torch.device("cpu")), units, Streams(0, 0)),
    )
    draws = {
        "w_in": (row.params["w_in"], math.sqrt(6 / (inputs + 2 * H))),
        "act_bias": (row.params["act_bias"], 0.01),
        "h0": (row.params["h0"], 0.01),
    }
    for values, bound in draws.values():
        assert kstest(values.flatten().numpy(), uniform(-bound, 2 * bound).cdf).pvalue > ALARM
    pairs = torch.arange(0, H - 1, 2)
    turned = 2 * torch.atan(row.params["a_skew"][pairs, pairs + 1]) % (2 * math.pi)
    assert kstest(turned.numpy(), uniform(0, angle).cdf).pvalue > ALARM
