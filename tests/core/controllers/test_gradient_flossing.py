"""Gradient flossing: the spectrum against QR, the gradient against differences, off and every."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.controllers.gradient_flossing import GradientFlossing, lyapunov_spectrum, orthonormal
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.layered import layered
from rnnsweep.core.recurrence.unrolled import Unrolled
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, context_of

FAMILIES = [Srn(6), Srn(6, "leaky_relu"), Srn(6, "oplu"), Srn(6, leak=0.6), Srn(6, "sigmoid")]


def case(family: Srn, unit: GradientFlossing):
    task = TemporalOrder(length=(10, 13))
    setup = Setup(family=family, task=task, controllers={"it": unit}, batch=3, sigma=0.6)
    return setup.pack([0, 1], 100, controllers__it__weight=1.0)


def spectrum(context, values, exponents: int) -> torch.Tensor:
    weights = context.family.weights(values, context.family_hypers)
    batch = context.batch
    loop = Unrolled(weights, batch.inputs, context.activation, None, batch.lengths)
    return lyapunov_spectrum(loop, exponents).detach()


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_spectrum_is_that_of_repeated_qr(family):
    """Jacobians by autograd of the plain formula, R by LAPACK; one row and sequence at a time."""
    _, context = context_of(case(family, GradientFlossing(1.0, 3)), "controllers.it")
    found = spectrum(context, context.values, 3)
    batch, values = context.batch, context.values
    for row in range(2):
        w_rec, w_in, b = (values[name][row] for name in ("w_rec", "w_in", "b"))

        def step(h, u, w_rec=w_rec, w_in=w_in, b=b):
            return (1 - family.leak) * h + family.leak * context.activation.value(h @ w_rec + u @ w_in + b)

        length = int(batch.lengths[row])
        for sample in range(3):
            h, q = torch.zeros(6).double(), torch.eye(6).double()[:, :3]
            total = torch.zeros(3).double()
            for u in batch.inputs[row, -length:, sample]:
                jacobian = torch.autograd.functional.jacobian(lambda h, u=u: step(h, u), h)
                q, r = torch.linalg.qr(jacobian @ q)
                total += r.diagonal().abs().log()
                h = step(h, u)
            torch.testing.assert_close(found[row, sample], total / length, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", [Srn(6), Srn(6, "sigmoid", 0.6)], ids=str)
def test_the_gradient_is_that_of_the_mean_squared_exponents(family):
    unit = GradientFlossing(1.0, 2)
    _, context = context_of(case(family, unit), "controllers.it")
    extra = unit.add(context) - context.gradients
    direction = torch.randn(extra.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    size = 1e-5
    ends = []
    for sign in (1, -1):
        values = context.layout.view(context.params + sign * size * direction)
        ends.append(spectrum(context, values, 2).square().flatten(1).mean(1))
    differences = (ends[0] - ends[1]) / (2 * size)
    torch.testing.assert_close((extra * direction).sum(1), differences, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "form", [{"layers": 2}, {"layers": 2, "bidirectional": True}, {"bidirectional": True}], ids=str
)
def test_the_gradient_reaches_the_layers_below(form):
    """That of the last layer's spectrum, for the parameters of all loops before it and its own."""
    unit, family = GradientFlossing(1.0, 2), layered(Srn(6, **form))
    pack = case(family, unit)
    _, context = context_of(pack, "controllers.it")
    extra = unit.add(context) - context.gradients
    direction = torch.randn(extra.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    size, ends, batch = 1e-5, [], context.batch
    for sign in (1, -1):
        values = context.layout.view(context.params + sign * size * direction)
        feed = family.feed(values, context.family_hypers, batch.inputs, batch.lengths, context.engine)
        weights = family.weights(values, context.family_hypers)
        loop = Unrolled(weights, feed.inputs, context.activation, None, batch.lengths)
        ends.append(lyapunov_spectrum(loop, 2).detach().square().flatten(1).mean(1))
    differences = (ends[0] - ends[1]) / (2 * size)
    torch.testing.assert_close((extra * direction).sum(1), differences, rtol=1e-6, atol=1e-9)
    assert context.layout.view(extra)["w_rec"].abs().max() > 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_direction_that_dies_counts_no_further(dtype):
    vectors = torch.tensor([[1.0, 2.0, 0.5], [2.0, 4.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 3.0]], dtype=dtype)
    found, logs = orthonormal((vectors / 3)[None, None])
    assert logs[0, 0, 1:3].tolist() == [0.0, 0.0]
    assert found[0, 0, 1:3].abs().sum() == 0
    kept = found[0, 0, [0, 3]]
    torch.testing.assert_close(kept @ kept.T, torch.eye(2, dtype=dtype))


def test_off_and_every_are_bit_for_bit():
    """Row by row: every=2 skips the second update, weight 0 is none, the first update has it."""

    def rung(unit, weight):
        pack = Setup(controllers={"it": unit}).pack([0, 1], 100, controllers__it__weight=weight)
        train_rung(pack, 1, 1)
        return pack

    twice, always, off = (
        rung(GradientFlossing(every=2), 0.5),
        rung(GradientFlossing(), 0.5),
        rung(GradientFlossing(), 0),
    )
    plain = Setup(controllers={}).pack([0, 1])
    train_rung(plain, 1, 1)
    assert torch.equal(off.params, plain.params)
    assert torch.equal(twice.params, always.params)
    assert not torch.equal(always.params, plain.params)
    _, context = context_of(twice, "controllers.it")
    assert GradientFlossing(every=2).add(context) is context.gradients
    assert not torch.equal(GradientFlossing().add(context), context.gradients)


def test_it_brings_the_exponent_to_zero():
    """Only the regulariser trains: the read-out's error has no weight against it."""
    unit = GradientFlossing()
    setup = Setup(family=Srn(12), controllers={"it": unit}, sigma=0.1)
    pack = setup.pack([0, 1], 400, controllers__it__weight=5.0, optimizer__lr=0.02)
    before = train_rung(pack, 1, 99)
    after = train_rung(pack, 60, 99)
    for first, last in zip(before, after, strict=True):
        assert first["state/lyapunov_max"] < -0.5
        assert abs(last["state/lyapunov_max"]) < 0.5 * abs(first["state/lyapunov_max"])
