"""The compiled passes of a matrix memory beside those of torch, and what they add up beside float64."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from rnnsweep.core import kernels
from rnnsweep.core.cpu import matrix_memories as compiled
from rnnsweep.core.recurrence import memory_chunks
from rnnsweep.core.recurrence.cpu.engine.dispatch import _given, use_threads
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import LoopWeights
from tests.core.recurrence.test_matrix_memory import NONE, Case, P, close

F32, F64 = torch.float32, torch.float64


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device that has no such kernels."""
    monkeypatch.setattr(kernels, "_compiled", lambda what: None)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("T", "hidden", "heads"), [(70, 6, 2), (33, 20, 1), (130, 50, 1)])
def test_both_ways_are_the_same(T, hidden, heads, ragged, steps, monkeypatch):
    lengths = torch.tensor([[T, 1, 2, T - 1], [T, T, T, T], [5, 17, 9, 33]]) if ragged else None
    case = Case(T, hidden, heads, lengths=lengths).carried()
    record = case.record()
    mine = case.back(record, steps)[0]
    monkeypatch.setattr(kernels, "_compiled", lambda what: None)
    other = case.record()
    close(record.h, other.h, 1e-13)
    close(record.gates.m, other.gates.m, 1e-13)
    close(mine.w_in, case.back(other, steps)[0].w_in, 1e-13)


def test_small_weights_have_all_digits():
    """A hundred steps of float32, against sums in float64 of the same logarithms."""
    rng = torch.Generator().manual_seed(2)
    keep = -8 * torch.rand(5, 112, generator=rng, dtype=F32)
    write = -4 * torch.rand(5, 112, generator=rng, dtype=F32)
    found = compiled.pair_weights(keep, write, 48)
    total = torch.zeros(5, 112, 112, dtype=F64)
    for t in range(112):
        for s in range(t):
            total[:, t, s] = keep[:, s + 1 : t + 1].double().sum(1)
    true = (total + write.double()[:, None]).exp().tril()[:, 48:]
    large = true > 1e-30
    # a rounding of the exponent, up to 70, and of the exponential
    assert float((found.double() / true - 1)[large].abs().max()) < 70 * 2**-24 + 2**-22
    assert not found.triu(49).any()  # what a line does not see


def test_weights_of_torch_are_the_same(by_torch):
    rng = torch.Generator().manual_seed(4)
    keep, write = -torch.rand(3, 48, generator=rng, dtype=F64), -torch.rand(3, 48, generator=rng, dtype=F64)
    close(memory_chunks.pair_weights(keep, write, 16), compiled.pair_weights(keep, write, 16), 1e-14)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_a_row_is_the_same_alone_and_a_stranger_to_what_is_not_finite(dtype):
    case = Case(40, 20, 2, dtype=dtype)
    record = case.record()
    case.inputs[1, 7, 2] = torch.nan
    other = case.record()
    for row in (0, 2):
        assert torch.equal(other.h[row], record.h[row])
    assert torch.equal(other.h[1, :, [0, 1, 3]], record.h[1, :, [0, 1, 3]])
    assert bool(other.h[1, 8:, 2].isnan().all())


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(("T", "hidden", "heads"), [(41, 20, 2), (130, 50, 1)])
def test_threads_and_packs_change_no_bit(T, hidden, heads, dtype):
    """In the order of rows, and of the threads that take them."""
    case = Case(T, hidden, heads, dtype=dtype, lengths=torch.tensor([[T, 1, 2, T - 1], [T] * 4, [5, 17, 9, 33]]))
    record = case.carried().record()
    use_threads(2)
    try:
        other = case.record()
    finally:
        _given.clear()
    for found, wanted in [(other.h, record.h), (other.inside, record.inside), (other.gates.m, record.gates.m)]:
        assert torch.equal(found, wanted)
    for found, wanted in zip(other.memories, record.memories, strict=True):
        assert found is wanted or torch.equal(found, wanted)


@pytest.mark.parametrize("ragged", [False, True])
def test_drives_may_be_given(ragged):
    lengths = torch.tensor([[70, 1, 2, 69], [70] * 4, [5, 17, 9, 33]]) if ragged else None
    case = Case(70, 20, 2, lengths=lengths).carried()
    record = case.record()
    drive = torch.einsum("ptbi,pij->ptbj", case.inputs, case.w_in)
    weights = LoopWeights(case.w_in.new_zeros(P, 0, 0), None, case.bias, h0=case.h0)
    found = case.cell.engine().forward(drive, weights, NONE, case.lengths)
    close(found.h, record.h, 1e-13)
    own = own_steps(case.lengths, 70)[..., None]
    close(torch.where(own, found.drive, 0.0), record.drive, 1e-13)


def test_a_machine_without_vectors_goes_by_torch():
    """Kernels that are written in vectors cannot be compiled there."""
    code = """
import torch
from rnnsweep.core.kernels import kernels_for
from tests.core.recurrence.test_matrix_memory import Case
cpu = torch.device("cpu")
assert kernels_for("memory_reads", cpu) is kernels_for("last_queries", cpu) is None
assert kernels_for("matrix_memories", cpu) is not None
case = Case(33, 6, 2)
record = case.record()
print(float(record.h.double().square().sum()), float(case.back(record, False)[0].w_in.double().square().sum()))
"""
    environment = {**os.environ, "RNNSWEEP_VECTOR_BYTES": "0"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    case = Case(33, 6, 2)
    record = case.record()
    sums = [float(x.double().square().sum()) for x in (record.h, case.back(record, False)[0].w_in)]
    assert [float(x) for x in told.stdout.split()] == pytest.approx(sums, rel=1e-12)
