"""Losses and their gradients against torch, and read-outs with masks."""

import math

import pytest
import torch

from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR
from rnnsweep.core.readout import loss as plain_loss
from rnnsweep.core.readout import read_out
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Batch

P, T, B, H, O = 3, 5, 4, 6, 7  # noqa: E741


LOSSES = {loss.name: loss for loss in (CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR)}


class Fake:
    """A task as the read-out sees it."""

    def __init__(self, loss, per_step=True):
        self.loss, self.per_step = LOSSES[loss], per_step


def made(kind, dtype=torch.float64, per_step=True, mask=None, scale=1.0, rows=P, outputs=O):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(rows, T + 1, B, H, generator=generator, dtype=torch.float64).to(dtype)
    values = {
        "w_out": scale * torch.randn(rows, H, outputs, generator=generator, dtype=torch.float64).to(dtype),
        "b_out": torch.randn(rows, outputs, generator=generator, dtype=torch.float64).to(dtype),
    }
    shape = (rows, T, B) if per_step else (rows, B)
    targets = torch.randint(0, outputs, shape, generator=generator)
    if kind != "cross_entropy":
        targets = torch.randint(0, 2, (*shape, outputs), generator=generator).to(dtype)
    return states, values, Batch(torch.zeros(rows, T, B, 1), targets, torch.tensor([T, 3, 2] * rows)[:rows], mask)


def reference_loss(kind, y, targets):
    """Per read-out, by torch's own losses."""
    functional = torch.nn.functional
    if kind == "cross_entropy":
        return functional.cross_entropy(y.flatten(0, -2), targets.flatten(), reduction="none").reshape(targets.shape)
    if kind == "binary_cross_entropy":
        return functional.binary_cross_entropy_with_logits(y, targets, reduction="none").sum(-1)
    return functional.mse_loss(y, targets, reduction="none").sum(-1)


KINDS = ("cross_entropy", "binary_cross_entropy", "squared_error")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["last step", "own steps", "mask of steps", "mask of sequences"])
def test_loss_and_gradients_are_torchs(kind, form):
    mask = {"mask of steps": torch.rand(P, T) < 0.5, "mask of sequences": torch.rand(P, T, B) < 0.5}.get(form)
    if mask is not None:
        mask[:, -1] = True
        mask = mask.double()
    per_step = form != "last step"
    states, values, batch = made(kind, per_step=per_step, mask=mask)
    leaves = [states.requires_grad_(), *(value.requires_grad_() for value in values.values())]
    h = states[:, 1:] if per_step else states[:, -1]
    y = h @ (values["w_out"][:, None] if per_step else values["w_out"]) + (
        values["b_out"][:, None, None] if per_step else values["b_out"][:, None]
    )
    each = reference_loss(kind, y, batch.targets)
    if not per_step:
        wanted = each.mean(1)
    else:
        own = torch.arange(T)[None] >= (T - batch.lengths)[:, None]
        weight = own[:, :, None].expand(P, T, B).double() if mask is None else mask
        weight = weight if weight.ndim == 3 else weight[:, :, None].expand(P, T, B)
        wanted = (each * weight).sum((1, 2)) / weight.sum((1, 2))
    gradients = torch.autograd.grad(wanted.sum(), leaves)
    with torch.no_grad():
        task = Fake(kind, per_step)
        out = read_out(task, values, states, batch, ReferenceEngine())
        assert torch.allclose(out.loss, wanted, rtol=1e-12)
        assert torch.allclose(plain_loss(task, values, states[:, 1:], batch), wanted, rtol=1e-12)
        direct = out.direct.steps if per_step else out.direct.last
        assert torch.allclose(direct, gradients[0][:, 1:] if per_step else gradients[0][:, -1], rtol=1e-10, atol=1e-14)
        assert torch.allclose(out.gradients["w_out"], gradients[1], rtol=1e-10, atol=1e-14)
        assert torch.allclose(out.gradients["b_out"], gradients[2], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outputs", [1, 3, 7, 8, 31, 88])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_strangers(kind, outputs, dtype):
    states, values, batch = made(kind, dtype, outputs=outputs, rows=9)
    whole = read_out(Fake(kind), values, states, batch, ReferenceEngine())
    for p in (0, 4, 8):
        cut = slice(p, p + 1)
        one = Batch(batch.inputs[cut], batch.targets[cut], batch.lengths[cut])
        alone = read_out(
            Fake(kind), {name: value[cut] for name, value in values.items()}, states[cut], one, ReferenceEngine()
        )
        assert torch.equal(alone.loss, whole.loss[cut])
        assert torch.equal(alone.direct.steps, whole.direct.steps[cut])
        for name, value in alone.gradients.items():
            assert torch.equal(value, whole.gradients[name][cut])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binary_cross_entropy_of_extreme_logits(dtype):
    """Logits that a naive sigmoid and logarithm would turn into 0 * inf; expected values by hand."""
    logits = torch.tensor([0.0, 200, -200, 200, -200, 30], dtype=dtype)
    targets = torch.tensor([1.0, 1, 0, 0, 1, 1], dtype=dtype)
    wanted = [math.log(2), 0, 0, 200, 200, math.exp(-30)]
    for y, target, value in zip(logits, targets, wanted, strict=True):
        values = {"w_out": torch.zeros(1, 1, 1, dtype=dtype), "b_out": y.reshape(1, 1)}
        batch = Batch(torch.zeros(1, 1, 1, 1), target.reshape(1, 1, 1, 1), torch.ones(1, dtype=torch.int64))
        out = read_out(
            Fake("binary_cross_entropy"), values, torch.zeros(1, 2, 1, 1, dtype=dtype), batch, ReferenceEngine()
        )
        assert float(out.loss) == pytest.approx(value, rel=1e-6)
        sigmoid = 1 / (1 + math.exp(-float(y)))
        assert float(out.gradients["b_out"]) == pytest.approx(sigmoid - float(target), abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_row_stays_alone(kind):
    states, values, batch = made(kind)
    before = read_out(Fake(kind), values, states, batch, ReferenceEngine())
    states[1, 3] = math.nan
    after = read_out(Fake(kind), values, states, batch, ReferenceEngine())
    assert torch.isnan(after.loss[1])
    for p in (0, 2):
        assert after.loss[p] == before.loss[p]
        assert torch.equal(after.gradients["w_out"][p], before.gradients["w_out"][p])
