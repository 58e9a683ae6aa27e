"""`rnnsweep units`: what can be chosen."""

from __future__ import annotations

import json

SOURCES = {
    "controller": "clip clip_per_parameter clip_elementwise clip_agc clip_autoclip clip_zclip omega sampling l1"
    " l1_proximal l2 gradient_flossing",
    "init": "normal smart_tanh identity glorot he orthogonal cayley henaff chrono",
    "activation": "tanh sigmoid relu leaky_relu elu identity modrelu oplu",
    "task": "temporal_order temporal_order_3bit adding multiplication permutation memorization copying"
    " sequential_digits char_lm polyphonic_music frame_regression periodic_output interval_matching sequence_chaining",
    "family": "srn lstm gru scornn scurnn enrnn momentum_lstm momentum_srn momentum_scornn adam_lstm rmsprop_lstm"
    " nesterov_lstm nesterov_lstm_diff sbo esn exprnn indrnn cornn lipschitz lru mingru",
    "readout": "linear attention",
    "learner": "bptt rflo hessian_free ridge teacher_forcing",
    "optimizer": "sgd adam rmsprop adagrad grouped",
}
"""The systems of the papers that the project started from."""


def test_units_json(run):
    found = json.loads(run("units", "--json").stdout)
    assert list(found) == [
        "family",
        "activation",
        "embedding",
        "readout",
        "controller",
        "init",
        "task",
        "learner",
        "optimizer",
        "metric",
        "sampler",
        "pruner",
        "scheduler",
    ]
    assert "omega" in found["controller"]
    assert "valid/error" in found["metric"]


def test_every_system_of_the_sources_is_a_unit(run):
    found = json.loads(run("units", "--json").stdout)
    for family, names in SOURCES.items():
        assert set(names.split()) <= set(found[family]), family
