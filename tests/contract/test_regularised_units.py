"""Every learning rule and every controller with regularised loops: it trains, or is refused by the config's checks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers, shape_key
from rnnsweep.core.families.base import INSIDE, RATES
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import RowStatus
from rnnsweep.errors import ConfigError
from rnnsweep.loader import load_class
from tests.contract.test_controllers_of_families import ON, block

CONF = search_path().packaged
LEARNERS = sorted(path.stem for path in (CONF / "learner").glob("*.yaml"))
CONTROLLERS = sorted((CONF / "controllers").glob("*.yaml"))
ANEW = {"omega", "sampling", "gradient_flossing"}
"""Controllers that form a loop's errors anew."""


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    small = ["task.length=10", "training.batch=3", "training.eval_size=3", "engine=cpu", "dtype=float64"]
    return resolve_point(load(None, ["name=t", *small], check_units=False).variants, {})


def with_family(base: dict[str, Any], **keys: Any) -> dict[str, Any]:
    config = {**copy.deepcopy(base), "controllers": {}}
    config["family"] = {**config["family"], "hidden": 6, "_name_": "srn", **keys}
    return config


def trained(config: dict[str, Any]) -> Pack:
    units = build_units(config)
    pack = Pack(build_program(config, units, torch.device("cpu")))
    members = [Member(row, 2, row_hypers(units), Streams(0, row)) for row in range(2)]
    pack.join([(member, initial_state(pack.program, units, member.streams)) for member in members])
    train_rung(pack, 2, 1)
    assert pack.status.tolist() == [RowStatus.DONE] * 2
    return pack


@pytest.mark.parametrize("key", [*(rate for rate in RATES if rate != "zoneout_cell"), "layer_norm"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_learning_rule_goes_through_masks_or_refuses_them(base: dict[str, Any], learner: str, key: str) -> None:
    value = True if key == "layer_norm" else 0.3
    config = with_family(base, **{key: value}, layers=2 if key == "dropout" else 1)
    config["learner"] = block(CONF / "learner" / f"{learner}.yaml")
    if load_class(config["learner"]["_target_"], "learner").regularised:
        assert trained(config).program.engine.name == "cpu"
        return
    with pytest.raises(ConfigError) as refused:
        build_units(config)
    assert refused.value.key in (f"family.{key}", "learner")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", [*INSIDE[:2], "weight_drop", "layer_norm", "input_dropout", "weight_norm"])
@pytest.mark.parametrize("file", CONTROLLERS, ids=lambda file: file.stem)
def test_a_controller_acts_on_regularised_loops_or_refuses_them(base: dict[str, Any], file: Path, key: str) -> None:
    config = with_family(base, **{key: 0.3 if key in RATES else True})
    config["controllers"] = {file.stem: {**block(file), **ON.get(file.stem, {})}}
    if file.stem in ANEW and key in (*INSIDE, "layer_norm"):
        with pytest.raises(ConfigError, match=f"the family srn with {key} does not have") as refused:
            build_units(config)
        assert refused.value.key == f"controllers.{file.stem}"
        return
    trained(config)


def test_rates_share_a_shape_key_unless_one_is_0(base: dict[str, Any]) -> None:
    def key(**keys: Any) -> str:
        config = with_family(base, **keys)
        return shape_key(config, build_units(config))

    assert key(input_dropout=0.1) == key(input_dropout=0.6)
    assert key(input_dropout=0.1) != key(input_dropout=0.0) == key()
    assert key(input_dropout=0.1) != key(output_dropout=0.1)
    assert "random" not in json.loads(key())["family"]


def test_a_loop_without_masks_of_its_own_says_why_it_is_not_used(base: dict[str, Any]) -> None:
    from rnnsweep.core.recurrence.choose import engine_for

    family = build_units(with_family(base, zoneout=0.3)).family
    gpu, note = engine_for(
        family.cell, "gpu", family.cell_activation, torch.float32, torch.device("cuda"), regularised=True
    )
    assert gpu.name == "reference"
    assert note == "gpu engine not used: its loop has no zoneout, recurrent dropout or layer norm"


def test_first_values_of_gains_and_lengths(base: dict[str, Any]) -> None:
    """Gains begin at 1; lengths at those of the drawn columns, so that the first matrices are the drawn ones."""
    pack = trained({**with_family(base, layer_norm=True, weight_norm=True), "training": {**base["training"]}})
    units = build_units(with_family(base, layer_norm=True, weight_norm=True))
    state = initial_state(pack.program, units, Streams(0, 0))
    assert (state.params["gain"] == 1).all()
    assert torch.allclose(state.params["w_rec_length"], state.params["w_rec"].norm(dim=0), rtol=1e-14)
    values = {name: value[None] for name, value in state.params.items()}
    weights = units.family.weights(values, {"leak": torch.ones(1)})
    assert torch.allclose(weights.w_rec[0], state.params["w_rec"], rtol=1e-13)
