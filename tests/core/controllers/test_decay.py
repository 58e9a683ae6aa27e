"""What acts on the step itself: proximal L1 and decoupled weight decay."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.controllers.l1_proximal import L1Proximal
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.training import tiles, train_rung
from tests.kit.networks import Setup, context_of


def after_one_update(setup: Setup, **hypers: float) -> torch.Tensor:
    pack = setup.pack([0, 1], 1000, **hypers)
    train_rung(pack, 1, 1)
    return pack.params


def test_soft_thresholding_by_lr_times_weight():
    setup = Setup(controllers={"l1_proximal": L1Proximal()}, optimizer=Sgd(lr=0.05))
    layout = setup.program().layout
    plain = after_one_update(Setup(controllers={}, optimizer=Sgd(lr=0.05)))
    found = after_one_update(setup, controllers__l1_proximal__weight=4.0)
    views, want = layout.view(found), layout.view(plain)
    shrunk = torch.sign(want["w_rec"]) * torch.clamp(want["w_rec"].abs() - 0.05 * 4.0, min=0)
    assert torch.equal(views["w_rec"], shrunk)
    share = float((shrunk == 0).double().mean())  # N(0, .3): P(|w| < .2) = .495; 288 draws, +-5 sigma = +-.15
    assert 0.34 < share < 0.65
    for name in ("w_in", "b", "w_out"):
        assert torch.equal(views[name], want[name])


def test_weight_zero_is_off_bit_for_bit_beside_a_row_that_is_on():
    setup = Setup(controllers={"l1_proximal": L1Proximal()})
    program = setup.program()
    pack = setup.pack([0], controllers__l1_proximal__weight=0.0)
    pack.join([(setup.member(1, controllers__l1_proximal__weight=1.0), setup.state(program, 1))])
    train_rung(pack, 5, 1)
    plain = Setup(controllers={}).pack([0, 1])
    train_rung(plain, 5, 1)
    assert torch.equal(pack.params[0], plain.params[0])
    assert not torch.equal(pack.params[1], plain.params[1])


def test_a_refused_mini_batch_is_not_shrunk():
    """The gate refuses every step that changes S at all (|dS| > r0)."""
    setup = Setup(controllers={"l1_proximal": L1Proximal(), "sampling": Sampling(r0=1e-300)})
    pack = setup.pack([0, 1], controllers__l1_proximal__weight=1.0)
    before = pack.params.clone()
    train_rung(pack, 3, 1)
    assert pack.taken.tolist() == [0, 0]
    assert torch.equal(pack.params, before)


@pytest.mark.parametrize("optimizer", [Sgd(0.05, 0.5), Adam(0.01), RmsProp(0.01)], ids=lambda o: type(o).__name__)
def test_weight_decay_takes_its_share_of_every_parameter_and_zero_is_none(optimizer):
    setup = Setup(optimizer=optimizer, controllers={})
    plain = after_one_update(setup)
    pack = setup.pack([0], optimizer__weight_decay=0.3)
    pack.join([(setup.member(1), setup.state(setup.program(), 1))])
    before = pack.params.clone()
    train_rung(pack, 1, 1)
    torch.testing.assert_close(pack.params[0], plain[0] - optimizer.lr * 0.3 * before[0], rtol=0, atol=1e-15)
    assert torch.equal(pack.params[1], plain[1])


def test_adam_with_decay_is_torchs_adamw():
    setup = Setup(optimizer=Adam(0.01), controllers={})
    pack = setup.pack([0], optimizer__weight_decay=0.3)
    weights = pack.params[0].clone().requires_grad_()
    oracle = torch.optim.AdamW([weights], lr=0.01, weight_decay=0.3)
    for _ in range(5):
        _, context = context_of(pack)
        weights.grad = context.gradients[0].clone()
        oracle.step()
        train_rung(pack, 1, 1)
        torch.testing.assert_close(pack.params[0], weights.detach(), rtol=0, atol=1e-13)


def test_gates_see_the_whole_way_of_the_parameters():
    """The candidate step that a gate judges includes what the proximal step adds."""
    seen = []

    class Watch(Sampling):
        def admit(self, context, step):
            seen.append(step.clone())
            return super().admit(context, step)

    pack = Setup(controllers={"l1_proximal": L1Proximal(), "sampling": Watch(-900.0, 900.0)}).pack(
        [0], controllers__l1_proximal__weight=2.0
    )
    before = pack.params.clone()
    (_, tile), *_ = tiles(pack)
    assert tile.switched == {"l1_proximal": True, "sampling": True}
    train_rung(pack, 1, 1)
    torch.testing.assert_close(seen[0], pack.params - before, rtol=0, atol=1e-15)
