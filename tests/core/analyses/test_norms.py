"""Backpropagated norms against a plain network and against growth rates known in advance."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.analyses.delta_norms import delta_norms
from rnnsweep.core.analyses.gradient_norms import backpropagate, gradient_norms
from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch, update
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup


def tile_of(setup, replicas=(0, 1), **changes):
    ((_, tile),) = tiles(setup.pack(list(replicas), **changes))
    return tile


def plain_norms(tile, row):
    """Per-sample norms by autograd of one sample's own loss; nothing of the engine in it."""
    values = {name: value[row] for name, value in tile.program.layout.view(tile.params).items()}
    batch = train_batch(tile)
    found = []
    for sample in range(batch.inputs.shape[2]):
        u, h = batch.inputs[row, :, sample], torch.zeros(values["w_rec"].shape[0], dtype=torch.float64)
        before, pre = [], []
        for step in u:
            before.append(h)
            a = (h @ values["w_rec"] + step @ values["w_in"] + values["b"]).requires_grad_()
            pre.append(a)
            h = torch.tanh(a)
        y = h @ values["w_out"] + values["b_out"]
        target = batch.targets[row, sample]
        cost = torch.nn.functional.cross_entropy(y, target) if target.ndim == 0 else ((y - target) ** 2).sum()
        *deltas, dy = torch.autograd.grad(cost, [*pre, y])
        norms = torch.stack([delta.norm() for delta in deltas])
        inputs = torch.stack([torch.outer(a, b).norm() for a, b in zip(u, deltas, strict=True)])
        states = torch.stack([torch.outer(a.detach(), b).norm() for a, b in zip(before, deltas, strict=True)])
        found.append((norms, inputs, states, dy.norm()))
    return [torch.stack([item[index] for item in found]) for index in range(4)]  # B T, B T, B T, B


@pytest.mark.parametrize("task", [TemporalOrder(length=12), Adding(length=12)], ids=["temporal_order", "adding"])
def test_norms_equal_those_of_a_plain_network(task):
    tile = tile_of(Setup(task=task))
    actual, unit = gradient_norms(tile), gradient_norms(tile, unit_error=True)
    for row in range(2):
        norms, inputs, states, error = plain_norms(tile, row)
        length = norms.shape[1]
        assert actual.delta[row, -length:] == pytest.approx(norms.mean(0).numpy(), rel=1e-10)
        assert actual.inputs[row, -length:] == pytest.approx(inputs.mean(0).numpy(), rel=1e-10)
        assert actual.recurrent[row, -length:] == pytest.approx(states.mean(0).numpy(), rel=1e-10)
        assert unit.delta[row, -length:] == pytest.approx((norms / error[:, None]).mean(0).numpy(), rel=1e-10)


def test_a_linear_network_decays_by_its_one_eigenvalue():
    setup = Setup(family=Srn(6, "identity"))
    pack = setup.pack([0])
    values = pack.program.layout.view(pack.params)
    values["w_rec"].copy_(0.5 * torch.eye(6, dtype=torch.float64)[None])
    ((_, tile),) = tiles(pack)
    found = gradient_norms(tile).delta[0]
    assert (found[1:] / found[:-1]).tolist() == pytest.approx([2.0] * 11, rel=1e-12)  # |delta_{t-1}| = |delta_t| / 2


def test_measuring_leaves_training_alone():
    first, second = tile_of(Setup()), tile_of(Setup())
    before = first.params.clone()
    backpropagate(first)
    assert torch.equal(first.params, before)
    found = delta_norms(first, 6, 2, [0, 11])
    for _ in range(6):
        update(second, Tally())
    assert torch.equal(first.params, second.params)
    assert found.updates == [0, 2, 4]
    assert found.delta.shape == (2, 3, 2)
    assert math.isclose(
        float(found.delta[0, 0, 1]), float(gradient_norms(tile_of(Setup())).delta[0, 11]), rel_tol=1e-12
    )


def test_mean_and_median_of_activations():
    tile = tile_of(Setup(), replicas=(0,))
    found = delta_norms(tile, 1, 1, [0])
    fresh = tile_of(Setup(), replicas=(0,))
    h = backpropagate(fresh)[0].record.h[0, 1:].flatten()
    assert float(found.mean[0, 0]) == pytest.approx(float(h.mean()), rel=1e-12)
    assert float(found.median[0, 0]) == pytest.approx(float(h.sort().values[(len(h) - 1) // 2]), rel=1e-12)


def test_tasks_that_are_read_at_every_step_are_refused():
    with pytest.raises(ConfigError, match="read at every step"):
        gradient_norms(tile_of(Setup(task=Copying(length=12))))
    with pytest.raises(ConfigError, match="read at every step"):
        delta_norms(tile_of(Setup(task=Copying(length=12))), updates=1, every=1, steps=[0])
