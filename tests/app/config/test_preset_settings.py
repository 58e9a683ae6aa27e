"""Settings of presets that the papers' scripts have, beside where they come from."""

from __future__ import annotations

import math

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.config.point import lookup, resolve_point


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
    "scurnn_adding": {"family.hidden": 116, "task.length": 750, "optimizer.lr_phase": 1e-3} | SCURNN,
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


@pytest.mark.parametrize(("name", "inputs"), [("scurnn_copying", 10), ("scurnn_adding", 2)])
def test_the_input_matrix_spreads_as_two_glorot_draws_of_its_parts(name, inputs):
    config = load(name, check_units=False)
    hidden = config.resolved["family"]["hidden"]
    # Re U, Im U: sqrt(2 / (I + H)) each; ours draws [Re U, Im U] at once: gain sqrt(2 / (I + 2H))
    assert config.resolved["init"]["gain"] == pytest.approx(
        math.sqrt((inputs + 2 * hidden) / (inputs + hidden)), abs=1e-3
    )
