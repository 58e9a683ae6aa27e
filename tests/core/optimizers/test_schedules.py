"""Rates over updates against torch's schedulers; momentum that begins anew with every epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.optim import lr_scheduler

from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.grouped import Grouped
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of

SPAN = 7


def theirs(kind: str, optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    if kind == "step":
        return lr_scheduler.StepLR(optimizer, SPAN, gamma=0.3)
    if kind == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, SPAN)
    return lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t / SPAN))


@pytest.mark.parametrize("kind", ["step", "inverse", "cosine"])
def test_rates_are_those_of_torch(kind):
    """Cosine up to its end: torch's goes up again after it, ours stays at 0."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.2)
    scheduler = theirs(kind, optimizer)
    ours = Adam(schedule=kind)
    hypers = {"lr": 0.2, "span": float(SPAN), "factor": 0.3, "beta1": 0.9}
    columns = {name: torch.full((2, 1), value, dtype=torch.float64) for name, value in hypers.items()}
    for t in range(SPAN + 1 if kind == "cosine" else 30):
        found = ours.scheduled(columns, torch.full((2, 1), t))
        assert found["lr"].flatten().tolist() == pytest.approx([scheduler.get_last_lr()[0]] * 2, rel=1e-12, abs=1e-17)
        assert found["beta1"] is columns["beta1"]
        optimizer.step()
        scheduler.step()
    if kind == "cosine":
        assert ours.scheduled(columns, torch.full((2, 1), 3 * SPAN))["lr"].abs().max() < 1e-16


def test_all_rates_of_grouped_fall_together():
    unit = Grouped(schedule="step")
    columns = {name: torch.full((1, 1), value, dtype=torch.float64) for name, value in unit.row_values().items()}
    columns["span"] = torch.full((1, 1), 10.0, dtype=torch.float64)
    found = unit.scheduled(columns, torch.tensor([[25]]))
    assert {name for name in found if not torch.equal(found[name], columns[name])} == {"lr", "lr_skew", "lr_phase"}
    assert found["lr_skew"].item() == columns["lr_skew"].item() / 4
    trained = Setup(family=Scurnn(hidden=4), optimizer=unit).pack([0], optimizer__span=2.0, optimizer__factor=0.0)
    train_rung(trained, 2, 9)
    still = trained.params.clone()
    train_rung(trained, 3, 9)
    assert torch.equal(trained.params, still), "no rate is left"


def test_constant_is_without_schedule_to_the_bit():
    packs = [Setup(optimizer=Sgd()).pack([0, 1], optimizer__span=span) for span in (1.0, 50.0)]
    for pack in packs:
        train_rung(pack, 5, 9)
    assert torch.equal(packs[0].params, packs[1].params)


def test_rows_of_a_pack_have_their_own_span():
    def params(*spans: float) -> torch.Tensor:
        setup = Setup(optimizer=Sgd(schedule="step"))
        pack = setup.pack([])
        pack.join(
            [
                (replace(setup.member(0), hypers=setup.hypers(optimizer__span=s)), setup.state(pack.program, 0))
                for s in spans
            ]
        )
        train_rung(pack, 6, 9)
        return pack.params

    assert torch.equal(params(2.0, 4.0), torch.cat((params(2.0), params(4.0))))
    assert not torch.equal(params(2.0), params(4.0))


def test_refused_mini_batches_count():
    """Sampling refuses all of ten updates; then nothing is left of a rate that falls to 0 after ten."""
    setup = Setup(
        optimizer=Sgd(schedule="cosine"), controllers={"sampling": Sampling(q_min=90.0, q_max=91.0, r0=1e-300)}
    )
    pack = setup.pack([0], optimizer__span=10.0)
    before = pack.params.clone()
    train_rung(pack, 10, 99)
    assert torch.equal(pack.params, before)
    pack.hypers["controllers.sampling.q_min"].fill_(-torch.inf)
    pack.hypers["controllers.sampling.q_max"].fill_(torch.inf)
    pack.hypers["controllers.sampling.r0"].fill_(torch.inf)
    train_rung(pack, 10, 99)
    torch.testing.assert_close(pack.params, before, rtol=0, atol=1e-16)
    assert (int(pack.step[0]), int(pack.taken[0])) == (20, 10)


def test_momentum_begins_anew_with_every_epoch():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    params, reference = start.clone(), start.clone().requires_grad_()
    unit = Sgd(momentum_reset=4)
    hypers = {name: torch.full((2, 1), value, dtype=torch.float64) for name, value in (("lr", 0.1), ("momentum", 0.9))}
    slots = {"velocity": torch.zeros_like(params)}
    for t in range(11):
        if t % 4 == 0:
            optimizer = torch.optim.SGD([reference], 0.1, momentum=0.9)
        gradient = torch.randn(2, 5, dtype=torch.float64, generator=generator)
        step, slots = unit.propose(gradient, unit.kept(slots, torch.full((2, 1), t)), hypers, hypers["lr"])
        params = params + step
        reference.grad = gradient
        optimizer.step()
        torch.testing.assert_close(params, reference.detach(), rtol=1e-12, atol=1e-13)


def test_momentum_is_reset_in_training():
    """After the reset at update 3, velocity is that update's gradient alone."""
    found = []
    for unit in (Sgd(momentum_reset=3), Sgd()):
        pack = Setup(optimizer=unit, controllers={}).pack([0], optimizer__momentum=0.9, optimizer__lr=0.01)
        for _ in range(3):
            train_rung(pack, 1, 99)
        _, context = context_of(pack)
        found.append((pack.params.clone(), context.gradients))
        train_rung(pack, 1, 99)
        found[-1] += (pack.slots["optimizer.velocity"],)
    assert torch.equal(found[0][0], found[1][0]), "nothing else before"
    assert torch.equal(found[0][2], found[0][1])
    assert not torch.equal(found[1][2], found[1][1])


@pytest.mark.parametrize(
    ("field", "value"), [("schedule", "linear"), ("span", 0.0), ("factor", 1.5), ("momentum_reset", 0)]
)
def test_wrong_settings_are_refused(field, value):
    with pytest.raises(ConfigError) as caught:
        Sgd(**{field: value})
    assert caught.value.key == f"optimizer.{field}"
