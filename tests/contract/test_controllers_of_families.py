"""Every option of every controller with every family: it trains, or is refused with a reason by the config's checks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.core.build import Units, build_program, build_units, initial_state, row_hypers
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import RowStatus
from rnnsweep.errors import ConfigError
from rnnsweep.loader import load_class

CONF = search_path().packaged
FAMILIES = sorted(path.stem for path in (CONF / "family").glob("*.yaml") if path.stem != "stack")  # of several
OWN = {
    "own_module": {"_target_": "tests.kit.own_cells.Mixed"},
    "own_function": {
        "_target_": "tests.kit.own_cells.step",
        "shapes": {"w": ["hidden", "hidden"], "v": ["inputs", "hidden"], "b": ["hidden"]},
    },
}
"""Families of steps as users write them."""
ON = {
    "omega": {"weight": 1.0},
    "l1": {"weight": 0.1},
    "l2": {"weight": 0.1},
    "l1_proximal": {"weight": 0.1},
    "gradient_flossing": {"weight": 0.1},
    "sampling": {"q_min": -3.0, "q_max": 3.0, "r0": 10.0},
    "clip_autoclip": {"percentile": 50.0},
    "clip_zclip": {"warmup": 1, "z_max": 0.1},
}
"""Values that switch a controller on; thresholds are on anyway."""


def block(file: Path) -> dict[str, Any]:
    return {key: value for key, value in read_yaml(file).items() if key != "_search_"}


def options() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every controller with its defaults, and with every other value of each structural choice."""
    for file in sorted((CONF / "controllers").glob("*.yaml")):
        given = {**block(file), **ON.get(file.stem, {})}
        yield file.stem, given
        for field, allowed in load_class(given["_target_"], file.stem).fixed.items():
            for value in allowed if isinstance(allowed, tuple) else ():
                if value != given[field]:
                    yield file.stem, {**given, field: value}


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    small = ["task.length=10", "training.batch=3", "training.eval_size=3", "engine=reference", "dtype=float64"]
    return resolve_point(load(None, ["name=t", *small], check_units=False).variants, {})


def reasons(units: Units, name: str, given: dict[str, Any]) -> list[str]:
    """Why a controller that is built by itself cannot serve the family, by what the units declare."""
    specs = units.family.parameters(units.task.n_inputs, units.task.n_outputs)
    unit = load_class(given["_target_"], name)(
        **{k: v for k, v in given.items() if k not in ("_target_", "parameters")}
    )
    found = [capability.value for capability in unit.requires - units.capabilities]
    if given.get("non_finite") == "shrink" and not any(spec.role == "recurrent" for spec in specs):
        found.append("shrinks recurrent weights")
    if "parameters" in given and not {*given["parameters"]} <= {spec.name for spec in specs}:
        found.append("unknown parameter")
    return found


@pytest.mark.parametrize("family", [*FAMILIES, *OWN])
def test_it_trains_or_is_refused(base, family):
    config = {**copy.deepcopy(base), "controllers": {}}
    given = OWN[family] if family in OWN else block(CONF / "family" / f"{family}.yaml")
    config["family"] = {**given, "hidden": 6, "_name_": family}
    bare = build_units(config)
    trained = 0
    for name, given in options():
        config["controllers"] = {name: given}
        why = reasons(bare, name, given)
        if why:
            with pytest.raises(ConfigError) as refused:
                build_units(config)
            assert any(reason in str(refused.value) for reason in why)
            assert f"controllers.{name}" in str(refused.value)
            continue
        units = build_units(config)
        pack = Pack(build_program(config, units, torch.device("cpu")))
        members = [Member(row, 2, row_hypers(units), Streams(0, row)) for row in range(2)]
        pack.join([(member, initial_state(pack.program, units, member.streams)) for member in members])
        found = train_rung(pack, 2, 1)
        assert pack.status.tolist() == [RowStatus.DONE] * 2, (name, given)
        assert all(row["train/loss"] > 0 for row in found)
        trained += 1
    assert trained >= 7, "every family takes the clippers at least"
