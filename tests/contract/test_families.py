"""Every family: its pull-back is the derivative of its weights, which autograd finds too."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import families as package
from rnnsweep.core.families.base import Family
from rnnsweep.core.types import LoopGradients, LoopWeights
from tests.kit.networks import Setup, context_of
from tests.kit.units import concrete

FAMILIES = concrete(package, Family)
OF_WEIGHTS = {"w_rec": "w_rec", "w_in": "w_in", "bias": "bias", "act_bias": "act_bias", "h0": "h0"}


def tensors(weights: LoopWeights) -> dict[str, torch.Tensor]:
    named = {name: getattr(weights, name) for name in OF_WEIGHTS}
    return {name: value for name, value in (named | dict(weights.cell)).items() if value is not None}


@pytest.mark.parametrize("unit", FAMILIES)
def test_the_pullback_is_the_derivative_of_the_weights(unit):
    setup = Setup(family=unit(hidden=8), sigma=0.6)
    pack = setup.pack([0, 1, 2])
    tile, context = context_of(pack)
    hypers, family = tile.unit_hypers("family"), pack.program.family
    with torch.enable_grad():
        leaves = {name: value.detach().clone().requires_grad_() for name, value in context.values.items()}
        weights = family.weights(leaves, hypers)
        parts = {name: part for name, part in tensors(weights).items() if part.requires_grad}
    generator = torch.Generator().manual_seed(1)
    given = {name: torch.randn(part.shape, generator=generator).double() for name, part in parts.items()}
    of_cell = {name: given.get(name, torch.zeros_like(part)) for name, part in weights.cell.items()}
    loop = LoopGradients(
        **{name: given.get(name) for name in OF_WEIGHTS if name != "w_rec"},
        w_rec=given.get("w_rec", torch.zeros_like(weights.w_rec)),
        cell=of_cell,
    )
    ours = family.pullback({n: v.detach() for n, v in leaves.items()}, hypers, loop)
    plain = torch.autograd.grad(
        list(parts.values()), list(leaves.values()), [given[name] for name in parts], allow_unused=True
    )
    fixed = {spec.name for spec in pack.program.layout.specs if spec.role == "fixed"}  # never trained
    seen = 0
    for name, want in zip(leaves, plain, strict=True):
        if name in fixed or want is None or not want.any():
            assert name not in ours or not ours[name].any(), name
            continue
        torch.testing.assert_close(ours[name], want, rtol=1e-8, atol=1e-10, msg=name)
        seen += 1
    assert seen or fixed, "some parameter reaches the loop"


def test_the_case_of_a_normalised_matrix_is_normalised():
    """ENRNN divides by the spectral radius only where it is above 1: the case above must be such a case."""
    setup = Setup(family=next(unit for unit in FAMILIES if unit.__name__ == "Enrnn")(hidden=8), sigma=0.6)
    values = context_of(setup.pack([0, 1, 2]))[1].values
    assert (torch.linalg.eigvals(values["w_short"]).abs().amax(-1) > 1).any()
