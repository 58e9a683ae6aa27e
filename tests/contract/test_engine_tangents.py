"""`Engine.tangent` against differences of the frozen S (docs/maths.md#sampling), and where float32 would underflow."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.recurrence.base import Engine, Tangent
from rnnsweep.core.types import Direct, LoopWeights, Trace
from tests.contract.test_engines import KNOWN, usable

F64 = torch.float64


@pytest.fixture(scope="module", params=list(KNOWN))
def engine(request: pytest.FixtureRequest) -> Engine:
    return usable(request.param)


def trace_of(
    engine: Engine,
    act: Activation,
    shape: tuple[int, ...],
    *,
    leak: bool = False,
    steps: bool = False,
    gain: float = 1.0,
) -> tuple[Trace, torch.Tensor]:
    """Float64 pack and a candidate step; `gain` scales W_rec."""
    P, T, B, H, I = shape  # noqa: E741
    rng = torch.Generator().manual_seed(sum(shape))

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng, dtype=F64)

    weights = LoopWeights(
        w_rec=normal(P, H, H) * gain / H**0.5,
        w_in=normal(P, I, H),
        bias=normal(P, H),
        act_bias=normal(P, H) * 0.2 if act.has_bias else None,
        leak=torch.linspace(0.3, 0.9, P, dtype=F64) if leak else None,
    )
    record = engine.forward(normal(P, T, B, I), weights, act, torch.full((P,), T))
    direct = Direct(steps=normal(P, T, B, H)) if steps else Direct(last=normal(P, B, H))
    trace = engine.backward(record, direct, act)[1]
    assert trace is not None
    return trace, normal(P, H, H) * 0.01


def frozen_delta(trace: Trace, act: Activation, p: int, horizon: int, w_rec: torch.Tensor) -> torch.Tensor:
    """delta_{T-h} with f' and the last step's error frozen, by loops over one row."""
    record, T = trace.record, trace.delta.shape[1]
    leak = 1.0 if record.weights.leak is None else float(record.weights.leak[p])
    last = trace.direct.last if trace.direct.steps is None else trace.direct.steps[:, -1]
    assert last is not None
    g, delta = last[p], trace.delta[p, -1]
    for t in range(T - 2, T - 2 - horizon, -1):
        g = delta @ w_rec.T + (1 - leak) * g
        slope = act.slope_from_output(record.h[p, t + 1]) if record.slope is None else record.slope[p, t]
        delta = act.pullback(slope, leak * g)
    return delta


def true_values(tangent: Tangent, p: int) -> tuple[torch.Tensor, torch.Tensor]:
    factor = 2.0 ** float(tangent.exponent[p])
    return tangent.delta[p].double() * factor, tangent.ddelta[p].double() * factor


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_is_the_derivative_of_the_frozen_recursion(engine: Engine, name: str, leak: bool, steps: bool) -> None:
    """dS by central differences of S = |delta_{T-h}|^2 / 2 with step 1e-4 of dW: error 1e-8 by size."""
    act = ACTIVATIONS[name]
    trace, step = trace_of(engine, act, (3, 8, 3, 6, 2), leak=leak, steps=steps)
    horizon = torch.tensor([7, 3, 1])
    tangent = engine.tangent(trace, step, horizon, act)
    for p in range(3):
        delta, ddelta = true_values(tangent, p)
        w, h = trace.record.weights.w_rec[p], int(horizon[p])
        true = frozen_delta(trace, act, p, h, w)
        assert (delta - true).abs().max() <= 1e-12 * true.abs().max()
        up, down = (frozen_delta(trace, act, p, h, w + s * 1e-4 * step[p]).square().sum() / 2 for s in (1, -1))
        slope = float(up - down) / 2e-4
        assert float((delta * ddelta).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-6 * float(true.square().sum()))


@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("gain", [0.02, 30.0])
def test_float32_neither_underflows_nor_overflows(engine: Engine, gain: float, leak: bool) -> None:
    """T = 50: deltas shrink to 1e-80 or grow; float32 must give the float64 sizes and ratios to 1e-3."""
    act = ACTIVATIONS["identity" if gain > 1 else "tanh"]
    trace, step = trace_of(engine, act, (2, 50, 4, 20, 3), gain=gain if gain > 1 else 0.02 * gain)
    if leak:
        trace.record.weights.leak = torch.tensor([0.999, 0.998], dtype=F64)
    weights = trace.record.weights
    single = LoopWeights(**{k: v.float() for k, v in vars(weights).items() if isinstance(v, torch.Tensor)})
    record = engine.forward(trace.record.inputs.float(), single, act, trace.record.lengths)
    direct = Direct(last=trace.direct.last.float())  # type: ignore[union-attr]
    trace32 = engine.backward(record, direct, act)[1]
    record64 = engine.forward(trace.record.inputs, weights, act, trace.record.lengths)
    trace64 = engine.backward(record64, trace.direct, act)[1]
    assert trace32 is not None
    assert trace64 is not None
    horizon = torch.tensor([49, 30])
    step = step * gain
    low, high = (engine.tangent(t, s, horizon, act) for t, s in ((trace32, step.float()), (trace64, step)))
    for p in range(2):
        true = [v.double() * 2.0 ** float(high.exponent[p] - low.exponent[p]) for v in (high.delta[p], high.ddelta[p])]
        for mine, right in zip((low.delta[p], low.ddelta[p]), true, strict=True):
            assert torch.isfinite(mine).all()
            assert mine.abs().max() > 0
            assert (mine - right).abs().max() <= 1e-3 * right.abs().max()


def test_zero_stays_zero(engine: Engine) -> None:
    act = ACTIVATIONS["relu"]
    trace, step = trace_of(engine, act, (2, 5, 3, 8, 2))
    trace.record.weights.w_rec.zero_()
    weights = trace.record.weights
    record = engine.forward(trace.record.inputs, weights, act, trace.record.lengths)
    dead = engine.backward(record, trace.direct, act)[1]
    assert dead is not None
    tangent = engine.tangent(dead, step, torch.tensor([4, 4]), act)
    assert (tangent.delta == 0).all()
    assert torch.isfinite(tangent.ddelta).all()
