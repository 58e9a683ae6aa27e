"""Optimisers against torch.optim, in float64, on random gradients with refused steps in between."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rnnsweep.core.checkpoint import CheckpointStore
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, assert_same_row

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


def started(value: float, **own: float):
    """torch's RMSprop with a mean square that starts from `value`: torch itself has only 0."""

    def make(params: list[torch.Tensor]) -> torch.optim.Optimizer:
        optimizer = torch.optim.RMSprop(params, 0.01, **own)
        for p in params:
            state = {"step": torch.zeros(()), "square_avg": torch.full_like(p, value)}
            optimizer.state[p] = state | ({"momentum_buffer": torch.zeros_like(p)} if own.get("momentum") else {})
        return optimizer

    return make


CASES += [
    (RmsProp(0.01, 0.9, 1e-6, initial=1.0), started(1.0, alpha=0.9, eps=1e-6)),
    (RmsProp(0.01, 0.9, 1e-6, 0.5, initial=0.3), started(0.3, alpha=0.9, eps=1e-6, momentum=0.5)),
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


def test_rmsprop_of_tensorflow_1():
    """ms <- .9 ms + .1 g^2 from 1, w <- w - lr g / sqrt(ms + 1e-10), one number after the other."""
    unit = RmsProp(0.01, 0.9, 1e-10, initial=1.0, epsilon_inside=True)
    hypers = {name: torch.tensor([[getattr(unit, name)]], dtype=torch.float64) for name in unit.rows}
    gradients, w, ms = (0.5, -1e-7, 3.0, 0.0, 1e-7, 2e-6), 0.25, 1.0
    params, slots = torch.tensor([[w]], dtype=torch.float64), {n: torch.zeros(1, 1).double() for n in unit.slots}
    for taken, g in enumerate(gradients):
        ms = 0.9 * ms + 0.1 * g * g
        w -= 0.01 * g / math.sqrt(ms + 1e-10)
        gradient, count = torch.tensor([[g]], dtype=torch.float64), torch.tensor([[float(taken)]], dtype=torch.float64)
        step, slots = unit.propose(gradient, slots, hypers, count)
        params = params + step
        assert float(params) == pytest.approx(w, rel=1e-14)


def test_an_initial_mean_square_is_kept_through_refused_mini_batches_and_checkpoints(tmp_path):
    """Rows of different settings in a pack: each as alone, refused or not, before and after a checkpoint."""
    setup = Setup(optimizer=RmsProp(), controllers={"clip": GlobalNormClip()})

    def trained(initials: list[float], stop: bool = False) -> Pack:
        pack = Pack(setup.program())
        key = "optimizer.initial"
        members = [replace(setup.member(0), hypers=setup.hypers() | {key: value}) for value in initials]
        pack.join([(member, setup.state(pack.program, 0)) for member in members])
        train_rung(pack, 2, 1)
        if stop:
            store, saved = CheckpointStore(str(tmp_path)), []
            for index in range(len(members)):
                folder = store.folder(0, index, "t")
                store.save(folder, pack.row(index), {})
                saved.append(store.load(folder, 1).state)
            pack = Pack(setup.program())
            pack.join(list(zip(members, saved, strict=True)))
        train_rung(pack, 2, 1)
        return pack

    both, again = trained([0.0, 1.0]), trained([0.0, 1.0], stop=True)
    for index, initial in enumerate((0.0, 1.0)):
        alone = trained([initial])
        assert_same_row(both.row(index), alone.row(0))
        assert_same_row(both.row(index), again.row(index))
    assert not torch.equal(both.params[0], both.params[1])


def test_what_was_never_taken_leaves_the_initial_value():
    unit = RmsProp(alpha=0.5, initial=4.0)
    hypers = {name: torch.tensor([[getattr(unit, name)]]) for name in unit.rows}
    slots = {name: torch.zeros(1, 1) for name in unit.slots}
    for _ in range(3):  # refused each time: slots and count stay
        _, new = unit.propose(torch.tensor([[2.0]]), slots, hypers, torch.zeros(1, 1))
        assert float(new["square"]) == 0.5 * 4 + 0.5 * 4


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_bad_momentum_is_refused(bad):
    with pytest.raises(Exception, match=r"optimizer\.momentum"):
        Sgd(momentum=bad)
