"""What cannot be trained of a user's step is refused in one line when the config is checked."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families.base import Family
from rnnsweep.errors import ConfigError
from rnnsweep.loader import build_unit, load_class

KIT = "tests.kit.own_cells"
REFUSED = {
    "Dropout": "draws random numbers",
    "Counting": "changes a buffer",
    "InPlace": "changes its state in place",
    "Outputs": "returns 2 values, which is no state",
    "Narrow": r"returns a tensor of shape \[5, 1\], which is no state",
    "Whole": "has a parameter k of int64",
    "Frozen": "has a frozen parameter w.bias",
    "Remembering": "remembers something between calls",
    "Mixing": "mixes the sequences of a mini-batch",
    "BatchNorm": "changes a buffer",
    "Detached": "returns a state without a gradient",
    "OneDtype": "returns a state of float64",
    "Mistaken": r"own_cells.py:\d+: .*cannot be made \(RuntimeError: mat1 and mat2",
    "NoSizes": "takes 1 positional argument but 3 were given",
    "Colliding": "has an argument 'roles', which is a key of families",
    "unshaped": "must give the shape of each parameter",
    "three": "is no unit; allowed: .*a torch.nn.Module or a step function",
}


def built(name: str, **values):
    return build_unit({"_target_": f"{KIT}.{name}", "hidden": 6, **values}, "family", Family)


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_that_cannot_be_trained_is_refused_in_one_line(name):
    before = torch.get_rng_state()
    with pytest.raises(ConfigError, match=REFUSED[name]) as refused:
        built(name)
    assert "family" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert torch.equal(before, torch.get_rng_state()), "the user's generator stays"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shapes": {"w": ["hidden", "hiden"]}}, "family.shapes.w.*is no shape"),
        ({"shapes": {"w": "hidden"}}, "family.shapes.w.*is no shape"),
        ({"shapes": {"w": ["hidden", 3, 3]}}, "says nothing of w"),
        ({"shapes": {"v": ["hidden"]}}, "must give the shape of each parameter"),
        ({"shapes": 5}, "family.shapes=5: is no mapping"),
        ({"shapes": {"w": ["hidden", "hidden"]}, "roles": {"w": "recurent"}}, "Did you mean 'recurrent'"),
        ({"shapes": {"w": ["hidden", "hidden"]}, "roles": {"x": "input"}}, "unknown parameter; allowed: w"),
        ({"shapes": {"w": ["hidden", "hidden"]}, "rate": 1}, "family.rate: unknown key"),
    ],
)
def test_shapes_and_roles_that_fit_nothing_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        built("unshaped", **values)


def test_only_families_are_made_of_other_code():
    with pytest.raises(ConfigError, match=r"is no unit; allowed: a subclass of rnnsweep.unit.Unit$"):
        load_class(f"{KIT}.Mixed", "task")


def test_further_arguments_are_keys():
    every = Family.fields()
    assert load_class(f"{KIT}.Mixed", "family").fields() == (*every, "roles", "rate")
    assert built("Mixed", rate=0.25).options == {"rate": 0.25}
    assert built("Mixed", rate=0.25) != built("Mixed")


def test_a_step_that_branches_on_its_numbers_is_taken():
    assert built("branching", shapes={"w": ["hidden", "hidden"]}).cell.states == 1
    assert built("Mixed").cell.states == 2
