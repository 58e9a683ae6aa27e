"""The gpu engine beside `reference`: tangent, float32, special values; what it refuses, and without a compiler."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS, Activation, Tanh
from rnnsweep.core.recurrence.choose import choose_engine
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Direct, LoopWeights
from tests.contract import test_engine_tangents as tangents
from tests.contract.test_engines import Case


def true_size(tangent, name: str) -> torch.Tensor:
    return getattr(tangent, name).double() * torch.exp2(tangent.exponent.double())[:, None, None]


@pytest.mark.parametrize(
    ("name", "shape", "leak"),
    [
        ("tanh", (3, 6, 4, 6, 2), False),
        ("oplu", (2, 5, 3, 8, 2), True),
        ("relu", (2, 4, 18, 5, 1), True),  # two batch tiles
        ("tanh", (2, 3, 2, 70, 1), False),  # streamed
    ],
)
@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
def test_tangent_equals_reference(gpu, name, shape, leak, size):
    """Both are exact up to rounding of the same sums, at any size of delta_T: the scaling is by powers of two."""
    case = Case(name, shape, leak=leak)
    case.lengths = torch.full((case.P,), case.T)
    case.direct.last *= size
    reference = ReferenceEngine()
    _, trace, _ = case.run(reference)
    horizon = torch.arange(case.P) % (case.T - 1) + 1
    horizon[-1] = case.T - 1
    mine, true = (engine.tangent(trace, case.step, horizon, case.act) for engine in (gpu, reference))
    for what in ("delta", "ddelta"):
        a, b = true_size(mine, what), true_size(true, what)
        assert ((a - b).abs().amax((1, 2)) <= 1e-12 * b.abs().amax((1, 2))).all(), what
    if case.B <= 16:
        assert torch.equal(mine.exponent, true.exponent)


@pytest.mark.parametrize(("gain", "leak"), [(0.02, False), (30.0, False), (0.02, True)])
def test_tangent_in_float32_neither_underflows_nor_overflows(gpu, gain, leak):
    """The trace's deltas are read while they are far from the type's ends, and made anew from there on."""
    tangents.test_float32_neither_underflows_nor_overflows(gpu, gain, leak)


@pytest.mark.parametrize("steps", [False, True])
def test_tangent_is_the_derivative_of_the_frozen_recursion(gpu, steps):
    tangents.test_is_the_derivative_of_the_frozen_recursion(gpu, "tanh", False, steps)
    tangents.test_is_the_derivative_of_the_frozen_recursion(gpu, "oplu", True, steps)


def test_tangent_reads_earlier_deltas_where_nothing_came_in_after(gpu):
    """With a loss at every step, or behind a cut, they are not those of the recursion."""
    case = Case("tanh", (2, 6, 3, 6, 2))
    case.lengths = torch.full((2,), 6)
    trace, horizon = case.run(ReferenceEngine())[1], torch.tensor([5, 2])
    want = gpu.tangent(trace, case.step, horizon, case.act)
    wrong = replace(trace, delta=trace.delta.clone())
    wrong.delta[:, :-1] *= 3
    cut = replace(wrong, cut=torch.zeros(2, 6, 1, dtype=torch.bool))
    steps = torch.zeros_like(trace.delta)
    steps[:, -1] = trace.direct.last
    each = replace(wrong, direct=Direct(steps=steps))
    for other in (cut, each):
        found = gpu.tangent(other, case.step, horizon, case.act)
        for what in ("delta", "ddelta"):
            torch.testing.assert_close(getattr(found, what), getattr(want, what), rtol=1e-12, atol=0)
    assert not torch.allclose(gpu.tangent(wrong, case.step, horizon, case.act).delta, want.delta)


def test_tangent_of_tiles_of_very_different_size(gpu):
    """One batch tile 1e-30 times the other, in float32; one all zero: the row's exponent is the largest one's."""
    case = Case("identity", (2, 4, 18, 4, 1), dtype=torch.float32)
    case.lengths = torch.full((2,), 4)
    case.direct.last[0, 16:] *= 1e-30
    case.direct.last[1, :16] = 0
    case.direct.last[1, 16:] *= 1e-30
    reference = ReferenceEngine()
    _, trace, _ = case.run(reference)
    horizon = torch.tensor([3, 3])
    mine, true = (engine.tangent(trace, case.step, horizon, case.act) for engine in (gpu, reference))
    for what in ("delta", "ddelta"):
        a, b = true_size(mine, what), true_size(true, what)
        for p in range(2):
            for part in (slice(0, 16), slice(16, 18)):
                scale = b[p, part].abs().max()
                assert (a[p, part] - b[p, part]).abs().max() <= 1e-5 * scale
    assert (mine.exponent - true.exponent).abs().max() <= 1


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_float32_unit_is_as_exact_as_the_reference(gpu, name):
    """At the size of the measured unit: the error against float64 is at most twice the reference's, plus one ulp."""
    shape = (1, 4, 10, 100, 6)
    exact, single = Case(name, shape), Case(name, shape, dtype=torch.float32)
    _, _, true = exact.run(ReferenceEngine())
    _, _, theirs = single.run(ReferenceEngine())
    _, _, mine = single.run(gpu)
    for key in ("w_rec", "w_in", "bias", "h0", "h", "delta", "x"):
        want = true[key]
        scale = want.abs().max()
        errors = [(found[key].double() - want).abs().max() / scale for found in (mine, theirs)]
        assert errors[0] <= 2 * errors[1] + 1.2e-7, key


def through(engine, act: Activation, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """f(a) and its slope by one step of a network without recurrence."""
    H = a.numel()
    bias = torch.full((1, H), -0.5, dtype=a.dtype) if act.has_bias else None
    zeros = torch.zeros(1, H, H, dtype=a.dtype)
    weights = LoopWeights(zeros, act_bias=bias, leak=torch.ones(1, dtype=a.dtype))
    record = engine.forward(a.view(1, 1, 1, H), weights, act, torch.ones(1, dtype=torch.int64))
    return record.h[0, 1, 0], record.slope[0, 0, 0]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # inf - inf in the branch not taken
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_at_every_size_and_at_special_values(gpu, name, dtype):
    act = ACTIVATIONS[name]
    inf = float("inf")
    special = [0.0, -0.0, inf, -inf, inf, torch.nan, 1e-40, -1e-30, 0.5, -0.5, 0.625, -0.625, 88.0, -104.0]
    sizes = torch.logspace(-6, 1.4, 25, dtype=torch.float64)
    a = torch.cat([torch.tensor(special, dtype=torch.float64), sizes, -sizes]).to(dtype)
    value, slope = through(gpu, act, a)
    bias = torch.full_like(a, -0.5) if act.has_bias else None
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(value, act.value(a, bias), rtol=tolerance, atol=tolerance * 0.25, equal_nan=True)
    torch.testing.assert_close(slope, act.slope(a, bias), rtol=tolerance, atol=tolerance, equal_nan=True)
    if name == "tanh":
        finite = torch.isfinite(a)
        torch.testing.assert_close(value[finite], torch.tanh(a[finite]), rtol=tolerance, atol=0)


def test_what_is_refused(gpu):
    assert gpu.refuses(ACTIVATIONS["tanh"], torch.float32) is None
    assert "bfloat16" in gpu.refuses(ACTIVATIONS["tanh"], torch.bfloat16)
    assert "swish has no fused loop" in gpu.refuses(Tanh("swish"), torch.float32)


def test_without_a_compiler_the_reason_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    engine, note = choose_engine("gpu", ACTIVATIONS["tanh"], torch.float32, torch.device("cuda"))
    assert engine.name == "reference"
    assert re.search(r"needs cuda-bindings .*pip install .*cuda-bindings.*extra .gpu.", note)
    monkeypatch.setattr(torch.version, "hip", "7.1")
    engine, note = choose_engine("gpu", ACTIVATIONS["tanh"], torch.float32, torch.device("cuda"))
    assert engine.name == "reference"
    assert "this torch for ROCm" in note


def test_without_a_gpu_the_reason_is_told():
    engine, note = choose_engine("gpu", ACTIVATIONS["tanh"], torch.float32, torch.device("cpu"))
    assert (engine.name, note) == ("reference", "gpu engine not used: no GPU here")
