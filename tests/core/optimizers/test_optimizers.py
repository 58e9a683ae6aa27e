"""Optimisers against torch.optim, in float64, on random gradients with refused steps in between."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd

CASES = [
    (Sgd(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    (Sgd(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    (Sgd(0.1, 0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True)),
    (Adam(0.01, 0.8, 0.95, 1e-6), lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.95), 1e-6)),
    (RmsProp(0.01, 0.9, 1e-6, 0.5), lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-6, momentum=0.5)),
    (Adagrad(0.1), lambda p: torch.optim.Adagrad(p, 0.1)),
    (Adagrad(0.1, 0.1, 1e-6), lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.1, eps=1e-6)),
    (RmsProp(0.01, 0.9, 1e-6), lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-6)),
]


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_equal_to_torch(ours, theirs):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 8, dtype=torch.float64, generator=generator)
    params, reference = start.clone(), start.clone().requires_grad_()
    optimizer = theirs([reference])
    hypers = {name: torch.full((3, 1), float(getattr(ours, name)), dtype=torch.float64) for name in ours.rows}
    slots = {name: torch.zeros_like(params) for name in ours.slots}
    for taken in range(20):
        gradient = torch.randn(3, 8, dtype=torch.float64, generator=generator)
        refused, _ = ours.propose(gradient * 7, slots, hypers, torch.full((3, 1), float(taken), dtype=torch.float64))
        step, slots = ours.propose(gradient, slots, hypers, torch.full((3, 1), float(taken), dtype=torch.float64))
        assert not torch.equal(refused, step) or isinstance(ours, Adagrad | Adam | RmsProp)
        params = params + step
        reference.grad = gradient
        optimizer.step()
        torch.testing.assert_close(params, reference.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_bad_momentum_is_refused(bad):
    with pytest.raises(Exception, match=r"optimizer\.momentum"):
        Sgd(momentum=bad)
