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


def tensorflow(*groups: str) -> dict[str, object]:
    """`tf.train.RMSPropOptimizer`: decay .9, mean square from 1, 1e-10 under the root."""
    settings = {f"optimizer.{group}": "rmsprop_inside" for group in groups}
    for name, value in {"alpha": 0.9, "initial": 1, "epsilon": 1e-10}.items():
        settings |= {f"optimizer.settings.{group}.{name}": value for group in groups}
    return settings


# torch's RMSprop with alpha .9; both biases of the forget gate start at 1
MOMENTUM = {
    "optimizer.alpha": 0.9,
    "optimizer.initial": 0,
    "optimizer.epsilon_inside": False,
    "family.forget_bias": 1,
    "family.forget_bias_in": 1,
}
# and `tf.train.AdagradOptimizer`: the sum starts from .1
SCURNN = tensorflow("skew") | {"optimizer.phase": "adagrad", "optimizer.settings.phase.initial": 0.1}
SETTINGS = {
    # Pascanu et al. (2013): 45 clips a cost summed over 200 steps, ours is the mean
    "pascanu_ptb": {"space": {"controllers.clip.threshold": (math.inf, 45 / 200)}},
    # 1 / (2t) is the whole weight
    "pascanu_music": {"space": {"controllers.omega.weight": (0, 1)}},
    # Nguyen et al. (2020), their scripts
    "momentum_timit": {
        "family.forget_bias": -4,
        "family.forget_bias_in": -4,
        "space": {"family.forget_bias": (-8,)},
    },
    "momentum_smnist": MOMENTUM | {"space": {"family.beta": (0.9,), "family.forget_bias": (2,)}},
    "momentum_pmnist": MOMENTUM | {"space": {"family.forget_bias": (2,)}},
    "scornn_adding": {"optimizer.main": "adam"} | tensorflow("skew"),
    "scornn_copying": tensorflow("main", "skew"),
    "scornn_digits": tensorflow("main", "skew"),
    "enrnn_adding": tensorflow("main", "skew"),
    "enrnn_copying": tensorflow("main", "skew"),
    # Maduranga, Helfrich, Ye (2019), their scripts
    "scurnn_copying": {
        "family.hidden": 130,
        "task.length": 2000,
        "optimizer.lr_phase": 1e-4,
    }
    | SCURNN,
    "scurnn_adding": {
        "family.angle": 2 * math.pi,
        "family.bias_bound": 0.01,
        "family.hidden": 116,
        "task.length": 750,
        "optimizer.lr_phase": 1e-3,
    }
    | SCURNN,
    "scurnn_digits": SCURNN,
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


@pytest.mark.parametrize(("name", "one"), [("momentum_timit", -4), ("momentum_smnist", 1), ("momentum_pmnist", 1)])
def test_only_the_plain_lstm_adds_up_two_biases(name, one):
    config = load(name, check_units=False)
    points = [resolve_point(config.variants, cell) for cell in config.plan.space.grid()]
    names = ("family.forget_bias", "family.forget_bias_in")
    biases = {
        lookup(point, "family._target_").rpartition(".")[2]: tuple(lookup(point, name) for name in names)
        for point in points
    }
    filtered = ("MomentumLstm", "AdamLstm", "RmspropLstm", "NesterovLstmDiff")
    assert biases == {"Lstm": (2 * one, None)} | dict.fromkeys(filtered, (one, one))


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
