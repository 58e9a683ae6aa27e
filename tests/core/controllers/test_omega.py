"""Omega: value and gradients against finite differences of functions written here from docs/maths.md#omega."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.controllers.omega import Omega, full_gradient
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_batch, train_rung
from rnnsweep.core.types import Wanted
from tests.kit.networks import Setup, context_of

FORMS = [
    (form, state, reduce)
    for form in ("ratio_sq", "ratio")
    for state in ("post", "pre")
    for reduce in ("active_mean", "sum")
]


def frozen_omega(omega: Omega, trace, w_rec: torch.Tensor, activation, row: int) -> float:
    """Omega of one row with h, g, delta constant and only the trailing w_rec [H, H] live; explicit loops."""
    delta, g, h = trace.delta[row], trace.totals()[row], trace.record.h[row]
    leak = 1.0 if trace.record.weights.leak is None else float(trace.record.weights.leak[row])
    T, B = delta.shape[:2]
    first = T - int(trace.record.lengths[row]) + (1 if omega.state == "pre" else 0)
    total, active = 0.0, 0.0
    for t in range(first, T):
        for b in range(B):
            x = w_rec @ delta[t, b] + (1 - leak) * g[t, b]
            below = g[t, b]
            if omega.state == "pre":
                slope = (
                    trace.record.slope[row, t - 1, b]
                    if trace.record.slope is not None
                    else activation.slope_from_output(h[t, b])
                )
                x, below = activation.pullback(slope, leak * x), delta[t, b]
            num, den = float(x @ x), float(below @ below)
            if den < omega.bound:
                continue
            ratio = num / den
            total += (ratio - 1) ** 2 / B if omega.form == "ratio_sq" else (ratio**0.5 - 1) ** 2 / B
            active += 1 / B
    return total / active if omega.reduce == "active_mean" and active else total


@pytest.mark.parametrize(("form", "state", "reduce"), FORMS)
@pytest.mark.parametrize(
    "family", [Srn(6), Srn(6, "relu"), Srn(6, "oplu"), Srn(6, leak=0.6), Srn(6, "sigmoid")], ids=str
)
def test_immediate_gradient_is_the_derivative_of_the_frozen_function(form, state, reduce, family):
    omega = Omega(1.0, form, state, reduce)
    setup = Setup(family=family, task=TemporalOrder(length=(10, 13)), controllers={"omega": omega}, batch=3, sigma=0.5)
    pack = setup.pack([0, 1])
    _, context = context_of(pack, "controllers.omega")
    before = context.gradients.clone()
    added = pack.program.layout.view(omega.add(context) - before)["w_rec"]
    norms = omega.norms(context)
    w = context.values["w_rec"]
    for row in range(2):
        assert float(norms.value[row]) == pytest.approx(
            frozen_omega(omega, context.trace, w[row], context.activation, row), rel=1e-12
        )
        for i, j in ((0, 0), (1, 4), (5, 2)):
            up, down = w[row].clone(), w[row].clone()
            up[i, j] += 1e-6
            down[i, j] -= 1e-6
            slope = (
                frozen_omega(omega, context.trace, up, context.activation, row)
                - frozen_omega(omega, context.trace, down, context.activation, row)
            ) / 2e-6
            assert float(added[row, i, j]) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("form", "state", "reduce"), FORMS)
def test_full_gradient_is_the_derivative_of_a_rerun(form, state, reduce):
    omega = Omega(1.0, form, state, reduce, gradient="full")
    setup = Setup(family=Srn(5), task=TemporalOrder(length=10), controllers={"omega": omega}, batch=2, sigma=0.6)
    pack = setup.pack([3])
    tile, context = context_of(pack, "controllers.omega")
    found = full_gradient(omega, context)
    program, layout = pack.program, pack.program.layout

    def value(params: torch.Tensor) -> float:
        learned = Bptt().learn(program, params, context.family_hypers, train_batch(tile), Wanted(trace=True))
        context.passes, context.params, context.values = learned.passes, params, layout.view(params)
        return float(omega.norms(context).value[0])

    for name, place in (("w_rec", 7), ("w_in", 3), ("b", 1), ("w_out", 4)):
        offset = layout.offsets[name] + place
        up, down = tile.params.clone(), tile.params.clone()
        up[0, offset] += 1e-6
        down[0, offset] -= 1e-6
        slope = (value(up) - value(down)) / 2e-6
        assert float(found[name].flatten()[place]) == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_nothing_active_gives_zero_and_no_nan():
    omega = Omega(1.0, bound=1e30)
    pack = Setup(controllers={"omega": omega}).pack([0])
    _, context = context_of(pack, "controllers.omega")
    norms = omega.norms(context)
    assert float(norms.value) == 0.0
    assert float(norms.share) == 0.0
    assert torch.equal(omega.add(context), context.gradients)


def test_weight_zero_leaves_the_update_bit_for_bit_beside_a_live_row():
    plain = Setup(controllers={}).pack([0])
    with_omega = Setup(controllers={"omega": Omega()})
    mixed = with_omega.pack([0])
    mixed.join([(with_omega.member(1, controllers__omega__weight=2.0), with_omega.state(mixed.program, 1))])
    train_rung(plain, 7, 1)
    train_rung(mixed, 7, 1)
    assert torch.equal(plain.params[0], mixed.params[0])


def test_the_bound_is_on_the_squared_norm():
    omega = Omega(1.0, bound=1.0)
    pack = Setup(controllers={"omega": omega}).pack([0])
    _, context = context_of(pack, "controllers.omega")
    g = context.trace.totals()[0]
    share = float(omega.norms(context).share)
    assert share == pytest.approx(float(((g * g).sum(-1) >= 1.0).double().mean()))
    assert 0.0 < float(Omega(1.0, bound=1e-4).norms(context).share) <= 1.0
