"""The CPU engine's filters against their recursions by autograd, sequence by sequence, and row by row to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.filtering import EPSILON, DriveFilter
from rnnsweep.core.sequence_lengths import own_steps, per_sequence

F64 = torch.float64
P, T, B, G, I = 3, 9, 4, 21, 3  # noqa: E741
LENGTHS = {
    "whole": torch.full((P,), T),
    "rows": torch.tensor([9, 4, 1]),
    "sequences": torch.tensor([[9, 8, 1, 3], [2, 2, 7, 1], [5, 5, 5, 5]]),
}


@pytest.fixture
def engine() -> CpuEngine:
    torch.set_num_threads(1)
    found = CpuEngine(2)
    reason = found.refuses(ACTIVATIONS["tanh"], F64)
    if reason:
        pytest.skip(reason)
    return found


def drawn(*, adaptive: bool, biased: bool, apart: bool, dtype=F64) -> tuple[torch.Tensor, DriveFilter, torch.Tensor]:
    """Inputs, a filter with rates that change from step to step, and gradients of drives; zero before the start."""
    rng = torch.Generator().manual_seed(adaptive + 2 * biased + 4 * apart)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

    def rate(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=rng, dtype=F64).to(dtype)

    S = B if apart else 1
    bias, after = (normal(P, G), normal(P, G)) if biased else (None, None)
    rates = rate(P, T, S), 0.3 + rate(P), rate(P, T, S) if adaptive else None
    return normal(P, T, B, I), DriveFilter(normal(P, I, G), bias, after, *rates), normal(P, T, B, G)


def recursion(inputs: torch.Tensor, filter_: DriveFilter, p: int, b: int, start: int) -> torch.Tensor:
    """Drives [n, G] of one sequence's own steps, from the formulas."""
    s = min(b, filter_.decay.shape[2] - 1)
    v = m = torch.zeros(G, dtype=F64)
    found = []
    for t in range(start, T):
        z = inputs[p, t, b] @ filter_.w_in[p]
        z = z if filter_.bias is None else z + filter_.bias[p]
        v = filter_.decay[p, t, s] * v + filter_.scale[p] * z
        drive = v
        if filter_.beta is not None:
            m = filter_.beta[p, t, s] * m + (1 - filter_.beta[p, t, s]) * z * z
            drive = v / (m + EPSILON).sqrt()
        found.append(drive if filter_.after is None else drive + filter_.after[p])
    return torch.stack(found)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize(("biased", "apart"), [(True, True), (False, False)])
@pytest.mark.parametrize("adaptive", [False, True])
def test_drives_and_gradients_are_those_of_the_recursion(engine, adaptive, biased, apart, lengths):
    inputs, filter_, g = drawn(adaptive=adaptive, biased=biased, apart=apart)
    own = own_steps(lengths, T)[..., None]
    # Nothing before a row's start is read; among sequences of a row that differ it is 0, as for every loop.
    g, inputs = g * own, torch.where(own, inputs, torch.nan if lengths.ndim == 1 else 0.0)
    record = engine.filtered(inputs, filter_, lengths)
    found = engine.filtered_back(record, g, further=True)
    leaves = {name: value.clone().requires_grad_() for name, value in parts(filter_).items()}
    leaf, by = inputs.clone().requires_grad_(), replace(filter_, **leaves)
    total = torch.zeros((), dtype=F64)
    starts = (T - per_sequence(lengths)).expand(P, B)
    for p in range(P):
        for b in range(B):
            start = int(starts[p, b])
            true = recursion(leaf, by, p, b, start)
            torch.testing.assert_close(record.drives[p, start:, b], true.detach(), rtol=1e-12, atol=1e-12)
            total = total + (true * g[p, start:, b]).sum()
    total.backward()
    assert torch.isfinite(record.drives).all()
    for name, value in {**leaves, "inputs": leaf}.items():
        assert value.grad is not None
        expected = value.grad if name != "inputs" else torch.where(own, value.grad, torch.zeros(()))
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-10, atol=1e-11)


def parts(filter_: DriveFilter) -> dict[str, torch.Tensor]:
    """What is trained."""
    named = {"w_in": filter_.w_in, "bias": filter_.bias, "after": filter_.after}
    return {name: value for name, value in named.items() if value is not None}


def everything(engine: CpuEngine, rows: torch.Tensor, dtype: torch.dtype, adaptive: bool) -> list[torch.Tensor]:
    """All results of some of the rows, in a pack of these alone."""
    inputs, f, g = drawn(adaptive=adaptive, biased=True, apart=True, dtype=dtype)
    lengths = LENGTHS["sequences"]
    g, pick = g * own_steps(lengths, T)[..., None], lambda x: None if x is None else x[rows]
    own = DriveFilter(f.w_in[rows], pick(f.bias), pick(f.after), f.decay[rows], f.scale[rows], pick(f.beta))
    record = engine.filtered(inputs[rows], own, lengths[rows])
    found = engine.filtered_back(record, g[rows], further=True)
    results = (record.drives, found.w_in, found.bias, found.after, found.inputs)
    return [value.clone() for value in results if value is not None]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("adaptive", [False, True])
def test_no_bit_of_a_row_depends_on_its_neighbours(engine, adaptive, dtype):
    together = everything(engine, torch.tensor([2, 0, 1]), dtype, adaptive)
    for place, row in enumerate((2, 0, 1)):
        alone = everything(engine, torch.tensor([row]), dtype, adaptive)
        assert len(alone) == 5
        for value, whole in zip(alone, together, strict=True):
            assert torch.equal(value[0], whole[place])


def test_gradients_of_padded_drives_are_read_as_they_lie(engine):
    """The simple loop's gradients of drives have padded rows."""
    inputs, filter_, g = drawn(adaptive=False, biased=True, apart=False)
    record = engine.filtered(inputs, filter_, LENGTHS["whole"])
    wide = torch.full((P, T, B, G + 11), torch.nan, dtype=F64)
    wide[..., :G] = g
    found, true = (engine.filtered_back(record, x, further=False) for x in (wide[..., :G], g))
    assert torch.equal(found.w_in, true.w_in)
    assert torch.equal(found.after, true.after)


def test_a_filter_of_other_shapes_is_refused(engine):
    inputs, filter_, _ = drawn(adaptive=False, biased=False, apart=False)
    with pytest.raises(ValueError, match="decay is given for 2 sequences"):
        engine.filtered(inputs, replace(filter_, decay=filter_.decay.expand(P, T, 2)), LENGTHS["whole"])
    with pytest.raises(ValueError, match="w_in"):
        engine.filtered(inputs[:2], filter_, LENGTHS["whole"][:2])
