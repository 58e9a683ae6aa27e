"""What sampling says by the gpu engine's kernel, against `Sampling.measures` and its rule."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.recurrence.base import Bounds, StepRule, Tangent
from rnnsweep.core.recurrence.reference import ReferenceEngine

P, B, H = 12, 3, 40


def drawn(dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, Tangent, dict[str, torch.Tensor]]:
    """Rows that vanish and explode beyond float64, in and out of range; of the last ones something is 0, inf or NaN."""
    noise = torch.Generator().manual_seed(seed)
    last, delta, change = (torch.randn(P, B, H, generator=noise, dtype=torch.float64).to(dtype) for _ in range(3))
    last[:4] *= 1e-20
    delta[8] = 0
    delta[9, 0, 0], last[10, 1, 2], change[11, 2, 3] = torch.inf, torch.nan, torch.nan
    exponent = torch.tensor([0, 1000, -1000, -70, 0, 3, -2, 5, 0, 0, 0, 0])
    limit = torch.rand(2, P, generator=noise, dtype=torch.float64)
    r0 = torch.full((P,), torch.inf, dtype=torch.float64)
    r0[::3] = 1e-3
    hypers = {"q_min": -limit[0], "q_max": limit[1], "r0": r0}
    return last, Tangent(delta, change, exponent), {name: value.to(dtype) for name, value in hypers.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("direction", "relative", "reduce"),
    list(product(("corrected", "as_printed"), (False, True), ("ratio_of_means", "mean_of_logs"))),
)
def test_a_launch_says_what_the_operations_say(gpu, dtype, direction, relative, reduce):
    sampling = Sampling(-1.0, 1.0, direction=direction, r0_relative=relative, q_reduce=reduce)
    last, tangent, hypers = drawn(dtype)
    want = sampling.judged(ReferenceEngine(), hypers, last, tangent)
    rule = StepRule(direction == "corrected", relative, reduce == "mean_of_logs")
    bounds = Bounds(**{name: value.to(gpu.device) for name, value in hypers.items()})
    moved = Tangent(*(value.to(gpu.device) for value in vars(tangent).values()))
    found = gpu.engine.judge(last.to(gpu.device), moved, bounds, rule)
    for name, value in vars(want).items():
        torch.testing.assert_close(getattr(found, name).cpu(), value, rtol=1e-12, atol=1e-12, equal_nan=True, msg=name)
    assert found.degenerate.tolist() == [False] * 8 + [True] * 4
    assert 0 < int(want.used.sum()) < P - 4


def test_the_last_step_of_a_trace_is_read_where_it_lies(gpu):
    last, tangent, hypers = drawn(torch.float64)
    deltas = torch.zeros(P, 5, B, H)
    deltas[:, -1] = last
    rule = StepRule(True, False, False)
    on = (value.to(gpu.device) for value in (deltas, *vars(tangent).values(), *hypers.values()))
    deltas, delta, change, exponent, *limits = on
    views = gpu.engine.judge(deltas[:, -1], Tangent(delta, change, exponent), Bounds(*limits), rule)
    apart = gpu.engine.judge(deltas[:, -1].clone(), Tangent(delta, change, exponent), Bounds(*limits), rule)
    for name, value in vars(apart).items():
        assert torch.equal(getattr(views, name).nan_to_num(), value.nan_to_num()), name
