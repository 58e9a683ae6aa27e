"""Promises of every initialisation in the package; new ones are found by themselves."""

import dataclasses
import math

import pytest
import torch

import rnnsweep.core.inits as package
from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.core import rng
from rnnsweep.core.inits.base import Init
from rnnsweep.core.types import ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range
from tests.kit.units import concrete, instances

CONF = packaged_configs()[0] / "init"
P = 4
SPECS = (
    ParameterSpec("w_in", (3, 17), "input"),
    ParameterSpec("w_rec", (17, 17), "recurrent"),
    ParameterSpec("w_gates", (2, 6, 18), "recurrent"),
    ParameterSpec("w_parts", (12, 6), "recurrent"),
    ParameterSpec("bias", (17,), "bias"),
    ParameterSpec("theta", (5,), "phase"),
    ParameterSpec("w_out", (17, 2), "output"),
)
WEIGHTS = {"w_in", "w_rec", "w_gates", "w_parts", "w_out"}


UNITS = concrete(package, Init)
CASES = [init for unit in UNITS for init in instances(unit)]
each_init = pytest.mark.parametrize("init", CASES, ids=str)


def hypers(init, rows=range(P)):
    """Per-row values around the defaults, different in each row; null (NaN) in every second row where allowed."""
    made = {}
    for name, allowed in init.rows.items():
        base = getattr(init, name) or 0.5
        values = [base + p if allowed.integer else base * (1 + 0.1 * p) for p in range(P)]
        if allowed.optional:
            values[1::2] = [math.nan] * len(values[1::2])
        made[name] = torch.tensor(values, dtype=torch.float64)[list(rows)]
    return made


def keys(rows=range(P)):
    return torch.tensor([rng.key(1, p, "init") for p in rows])


@each_init
def test_weights_are_drawn_and_nothing_else(init):
    values = init.draw(SPECS, keys(), hypers(init), 1.5)
    assert set(values) == WEIGHTS
    for spec in SPECS:
        if spec.name in values:
            assert values[spec.name].shape == (P, *spec.shape)
            assert values[spec.name].dtype == torch.float64
            assert values[spec.name].isfinite().all()
            assert (values[spec.name].flatten(1) != 0).any(1).all()


@each_init
def test_pack_equals_packs_of_one_and_permutes(init):
    whole = init.draw(SPECS, keys(), hypers(init), 1.5)
    for rows in ([0], [1], [2], [3], [2, 0, 3, 1]):
        part = init.draw(SPECS, keys(rows), hypers(init, rows), 1.5)
        for name, value in part.items():
            assert torch.equal(value, whole[name][rows]), name


@each_init
def test_a_parameter_depends_on_its_name_not_on_its_neighbours(init):
    whole = init.draw(SPECS, keys(), hypers(init), 1.5)
    for spec in SPECS:
        alone = init.draw([spec], keys(), hypers(init), 1.5)
        for name, value in alone.items():
            assert torch.equal(value, whole[name])


@each_init
def test_null_is_absent_is_nan(init):
    optional = [name for name, allowed in init.rows.items() if allowed.optional]
    given = hypers(init)
    with_nan = {**given, **{name: torch.full((P,), math.nan, dtype=torch.float64) for name in optional}}
    without = {name: value for name, value in given.items() if name not in optional}
    one, other = (init.draw(SPECS, keys(), values, 1.5) for values in (with_nan, without))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@each_init
def test_global_generators_play_no_part(init):
    torch.manual_seed(0)
    one = init.draw(SPECS, keys(), hypers(init), 1.5)
    torch.manual_seed(1)
    other = init.draw(SPECS, keys(), hypers(init), 1.5)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_frozen_and_check_their_fields(unit):
    with pytest.raises(dataclasses.FrozenInstanceError):
        unit().anything = 1
    for name, allowed in {**unit.rows, **unit.fixed}.items():
        for bad in (math.nan, math.inf) if isinstance(allowed, Range) else ("nonsense",):
            with pytest.raises(ConfigError) as caught:
                unit(**{name: bad})
            assert caught.value.key == f"init.{name}"


@pytest.mark.parametrize("unit", UNITS)
def test_yaml_and_signature_agree(unit):
    from omegaconf import OmegaConf

    found = {path: OmegaConf.load(path) for path in CONF.glob("*.yaml")}
    mine = [(path, c) for path, c in found.items() if str(c.get("_target_", "")).endswith(f".{unit.__name__}")]
    assert len(mine) == 1, f"one yaml per init in conf/init, found {[str(path) for path, _ in mine]}"
    path, config = mine[0]
    assert config._target_ == f"{unit.__module__}.{unit.__name__}"
    values = {key: value for key, value in OmegaConf.to_container(config).items() if not key.startswith("_")}
    assert set(values) == set(unit.fields())
    assert unit(**values) == unit(), "defaults of the yaml are those of the class"
    assert len(path.read_text().splitlines()) <= 20
