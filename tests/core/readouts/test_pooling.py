"""The pooling read-out against torch's mean and amax of each sequence alone, forward and by autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readout import Readout
from rnnsweep.core.readouts.linear import Linear
from rnnsweep.core.readouts.pooling import Pooling
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import Direct
from tests.kit.networks import Setup, assert_same_row
from tests.kit.ragged import Ragged

P, T, B, H = 2, 7, 4, 5
LENGTHS = [torch.tensor([7, 4]), torch.tensor([[7, 1, 3, 5], [2, 6, 6, 1]])]


def theirs(kind: str, h: torch.Tensor) -> torch.Tensor:
    """[t, H] -> [H]."""
    return {"mean": h.mean(0), "max": h.amax(0), "last": h[-1]}[kind]


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=["per row", "per sequence"])
@pytest.mark.parametrize("kind", ["mean", "max", "last"])
def test_what_is_seen_and_its_gradient_are_torchs(kind: str, lengths: torch.Tensor, per_step: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    states = torch.randn(P, T + 1, B, H, generator=draw, dtype=torch.float64)
    own = own_steps(lengths, T)[..., None].expand(P, T, B, 1)
    g = torch.randn(P, T, B, H, generator=draw, dtype=torch.float64) * own
    seen = Pooling(kind=kind).see({}, states, lengths, per_step)
    direct = Direct(steps=g) if per_step else Direct(last=g[:, -1])
    found = seen.pullback(direct)[0]
    back = torch.zeros_like(g) if found.steps is None else found.steps
    if found.last is not None:
        back[:, -1] = found.last
    for p in range(P):
        for b in range(B):
            first = T - int(own[p, :, b].sum())
            h = states[p, 1 + first :, b].clone().requires_grad_()
            ends = range(1, len(h) + 1) if per_step else [len(h)]
            true = torch.stack([theirs(kind, h[:end]) for end in ends])
            mine = seen.states[p, 1 + first :, b] if per_step else seen.states[p, -1:, b]
            torch.testing.assert_close(mine, true, rtol=1e-13, atol=1e-13)
            true.backward(g[p, first:, b] if per_step else g[p, -1:, b])
            torch.testing.assert_close(back[p, first:, b], h.grad, rtol=1e-12, atol=1e-13)
            assert (back[p, :first, b] == 0).all()


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_of_equal_maxima_one_takes_the_gradient(kind: str) -> None:
    states = torch.ones(1, 4, 1, 2, dtype=torch.float64)
    seen = Pooling(kind=kind).see({}, states, torch.tensor([3]), False)
    steps = seen.pullback(Direct(last=torch.ones(1, 1, 2, dtype=torch.float64)))[0].steps
    assert steps is not None
    torch.testing.assert_close(steps.sum(1), torch.ones(1, 1, 2, dtype=torch.float64))
    assert bool((steps > 0).sum(1).eq(1 if kind == "max" else 3).all())


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("kind", ["mean", "max", "last"])
def test_rows_are_the_same_alone_and_packed(kind: str, every: bool) -> None:
    setup = Setup(family=Srn(9), readout=Pooling(kind=kind), task=Ragged(every=every), dtype=torch.float32)
    wide, alone = setup.pack([0, 1, 2, 3]), setup.pack([2])
    train_rung(wide, 3, 1)
    train_rung(alone, 3, 1)
    assert_same_row(wide.row(2), alone.row(0))


def test_the_last_state_is_what_the_linear_read_out_sees() -> None:
    last, mean = Pooling(kind="last"), Pooling(kind="mean")
    assert last.direct
    assert last.carries
    assert last.capabilities == Readout.capabilities
    assert not mean.direct
    assert not mean.carries
    setup = Setup(family=Srn(9), readout=last, task=Ragged(), dtype=torch.float32)
    pooled, plain = setup.pack([0, 1]), replace(setup, readout=Linear()).pack([0, 1])
    train_rung(pooled, 3, 1)
    train_rung(plain, 3, 1)
    assert_same_row(pooled.row(1), plain.row(1))
