"""What is said to change nothing changes nothing, to the bit; and what trains alike by itself is said.

Every controller beside families and learning rules, and every key of inits, optimisers, learners and controllers, with
values that act from the first update on.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.config.unread import unread_keys
from rnnsweep.core.build import Units, build_program, build_units, initial_state, row_hypers
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.program import parameters_of
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError

CONF = search_path().packaged
UPDATES = 2
STRONG = {
    "clip": {"threshold": 1e-6},
    "clip_elementwise": {"threshold": 1e-9},
    "clip_per_parameter": {"threshold": 1e-6},
    "clip_agc": {"ratio": 1e-9},
    "clip_zclip": {"threshold": 1e-6},
    "omega": {"weight": 1.0},
    "l1": {"weight": 0.1},
    "l2": {"weight": 0.1},
    "l1_proximal": {"weight": 0.1},
    "gradient_flossing": {"weight": 0.1},
}
"""Controllers that act whatever the mini-batch is: all but sampling and AutoClip, which look at what came before."""
ROUNDING = 1e-12


def block(group: str, name: str, **values: Any) -> dict[str, Any]:
    plain = read_yaml(Path(CONF) / group / f"{name}.yaml")
    return {**{key: value for key, value in plain.items() if key != "_search_"}, "_name_": name, **values}


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    small = ["task.length=10", "training.batch=3", "training.eval_size=3", "engine=reference", "dtype=float64"]
    config = resolve_point(load(None, ["name=t", *small], check_units=False).variants, {})
    config["controllers"], config["optimizer"] = {}, block("optimizer", "sgd", lr=0.1)
    config["family"]["hidden"] = 6
    return config


def trained(config: dict[str, Any]) -> tuple[Units, torch.Tensor]:
    """The units, and one row's parameters after some updates."""
    units = build_units(config)
    pack = Pack(build_program(config, units, torch.device("cpu")))
    member = Member(0, 100, row_hypers(units), Streams(0, 0))
    pack.join([(member, initial_state(pack.program, units, member.streams))])
    train_rung(pack, UPDATES, 1)
    return units, pack.params.clone()


OMEGA, CLIPS = ("omega",), ("clip", "clip_agc")
SIDES = [
    ("srn", "bptt", tuple(STRONG)),
    *((family, "bptt", OMEGA) for family in ("scornn", "exprnn", "scurnn", "momentum_scornn", "enrnn", "lru", "gru")),
    ("scornn", "rflo", OMEGA),
    ("esn", "bptt", CLIPS),
    ("esn", "ridge", CLIPS),
    ("srn", "hessian_free", CLIPS),
]


@pytest.mark.parametrize(("family", "learner", "names"), SIDES)
def test_a_controller_is_said_to_be_idle_where_it_is(base, family, learner, names):
    config = {**copy.deepcopy(base), "family": block("family", family, hidden=6), "learner": block("learner", learner)}
    _, plain = trained(config)
    for name in names:
        for variant in [{}] if name != "omega" else [{}, {"form": "ratio"}]:
            config["controllers"] = {name: block("controllers", name, **STRONG[name], **variant)}
            try:
                units, moved = trained(config)
            except ConfigError:
                continue  # refused
            specs = parameters_of(units.family, units.readout, units.task)
            reason = units.controllers[name].idle_beside(units.family, units.learner, specs)
            alike = float((moved - plain).abs().max()) <= ROUNDING
            assert alike == (reason is not None), (name, variant, reason)


KEYS = {
    # group, unit: its values, and other ones of keys
    ("init", "normal"): ({}, dict.fromkeys(("sigma_in", "sigma_rec", "sigma_out", "bound_out"), 0.2)),
    ("init", "identity"): ({}, {"scale": 0.3, "sigma": 0.2}),
    ("init", "smart_tanh"): ({"nonzeros": 2}, {"nonzeros": 3, "rho": 0.5, "sparse_axis": "in", "sigma": 0.2}),
    ("init", "glorot"): ({}, {"gain": 0.3, "distribution": "normal"}),
    ("init", "he"): ({}, {"gain": 0.3}),
    ("init", "orthogonal"): ({}, {"gain": 0.3}),
    ("init", "cayley"): ({}, {"bound": 0.3}),
    ("init", "henaff"): ({}, {"bound": 0.3}),
    ("optimizer", "sgd"): (
        {"lr": 0.1},
        {"span": 1, "factor": 0.1, "nesterov": True, "momentum_reset": 1, "weight_decay": 0.1, "momentum": 0.5},
    ),
    ("optimizer", "sgd momentum"): (
        {"lr": 0.1, "momentum": 0.5, "schedule": "inverse"},
        {"span": 1, "factor": 0.1, "nesterov": True, "momentum_reset": 1},
    ),
    ("optimizer", "adam"): ({"schedule": "step", "span": 1}, {"span": 2, "factor": 0.1, "beta1": 0.5, "lr": 0.1}),
    ("optimizer", "grouped"): (
        {},
        {"skew": "adam", "phase": "adam", "lr_skew": 0.1, "lr_phase": 0.1, "main": "sgd", "span": 1},
    ),
    ("learner", "rflo"): ({}, {"feedback": 2.0, "align": "symmetric"}),
    ("learner", "rflo symmetric"): ({"align": "symmetric"}, {"feedback": 2.0}),
    ("learner", "snap"): ({}, {"order": 2}),
    ("learner", "eprop"): ({}, {"feedback": 2.0, "align": "random"}),
    ("learner", "eprop random"): ({"align": "random"}, {"feedback": 2.0}),
    ("learner", "ridge"): ({}, {"washout": 3, "alpha": 1.0}),
    ("family", "scurnn"): ({}, {"angle": 6.0, "bias_bound": 0.1}),
}
FAMILIES = {"init": ("srn", "scornn", "lru", "esn"), "optimizer": ("srn", "scurnn"), "family": ("scurnn",)}


def put(base: dict[str, Any], group: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {**copy.deepcopy(base), group: block(group, name.split()[0], **given)}


@pytest.mark.parametrize(("group", "name"), KEYS)
def test_a_key_is_said_to_be_unread_where_it_is(base, group, name):
    values, others = KEYS[group, name]
    for family in FAMILIES.get(group, ("srn",)):
        beside = {**base, "family": block("family", family, hidden=6)}
        for init in ("normal", "cayley") if group == "family" else ("normal",):
            beside["init"] = block("init", init)
            if group == "family":
                values = {**values, "hidden": 6}
            units, plain = trained(put(beside, group, name, values))
            unit = getattr(units, group)
            reasons = unread_keys(units, group, unit)
            for key, other in others.items():
                _, moved = trained(put(beside, group, name, {**values, key: other}))
                assert torch.equal(moved, plain) == (key in reasons), (family, init, key, reasons.get(key))
    assert set(unit.unread()) <= {*unit.fields(), *unit.rows}
