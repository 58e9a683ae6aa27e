"""Parts into flat vectors in one launch: the copies that torch makes, to the bit."""

from __future__ import annotations

import importlib

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.embedding import TABLE, TiedLayout
from rnnsweep.core.embeddings.learned import LearnedEmbedding
from rnnsweep.core.types import ParameterLayout, ParameterSpec

SPECS = (
    ParameterSpec("w_rec", (40, 40), "recurrent"),
    ParameterSpec("w_in", (0, 40), "input"),
    ParameterSpec("b", (40,), "bias"),
    ParameterSpec("h0", (1,), "h0"),
    ParameterSpec("w_out", (40, 3), "output"),
)


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def launches(device: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    module = importlib.import_module("rnnsweep.core.gpu.gathering")
    launch, done = module.launch, []
    monkeypatch.setattr(module, "launch", lambda *a, **k: done.append(1) or launch(*a, **k))
    monkeypatch.setattr(rng, "kernels_on", lambda device: module)
    return done


def parts_of(device: str, names: list[str], P: int = 3) -> dict[str, torch.Tensor]:
    shapes = {spec.name: spec.shape for spec in SPECS}
    return {name: torch.randn(P, *shapes[name], device=device) for name in names}


@pytest.mark.parametrize("names", [["w_rec", "w_in", "b", "h0", "w_out"], ["w_rec", "b"], ["w_rec", "w_out"]])
def test_parts_are_copied_and_all_else_is_zero(device, launches, names):
    layout, values = ParameterLayout(SPECS), parts_of(device, names)
    like = torch.full((3, layout.size), torch.nan, device=device)
    made = layout.gathered(values, like)
    assert torch.equal(made, layout.flatten(values, torch.zeros_like(like)))
    assert len(launches) == 1


def test_without_the_first_part_torch_copies(device, launches):
    layout, values = ParameterLayout(SPECS), parts_of(device, ["b", "w_out"])
    like = torch.ones(3, layout.size, device=device)
    assert torch.equal(layout.gathered(values, like), layout.flatten(values, torch.zeros_like(like)))
    assert launches == []


def test_a_part_with_gaps_between_its_rows(device, launches):
    layout = ParameterLayout(SPECS)
    values = parts_of(device, ["w_rec"]) | {"b": torch.randn(3, 2, 40, device=device)[:, 1]}
    like = torch.ones(3, layout.size, device=device)
    assert torch.equal(layout.gathered(values, like), layout.flatten(values, torch.zeros_like(like)))
    assert len(launches) == 1


def test_a_tied_read_out_is_added_to_its_table(device, launches):
    embedding = LearnedEmbedding(size=8, tied=True)
    layout = TiedLayout((ParameterSpec("w_rec", (8, 8), "recurrent"), ParameterSpec(TABLE, (5, 8), "input")), embedding)
    values = {
        "w_rec": torch.randn(2, 8, 8, device=device),
        TABLE: torch.randn(2, 5, 8, device=device),
        "w_out": torch.randn(2, 8, 5, device=device),
    }
    like = torch.ones(2, layout.size, device=device)
    assert torch.equal(layout.gathered(values, like), layout.flatten(values, torch.zeros_like(like)))
    assert len(launches) == 1
