"""What reaches a kernel of the gpu engine is checked as for the cpu engine; numbers on a device without a wait."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.gpu import compiling
from tests.contract.test_engines import F64, Case
from tests.core.recurrence.conftest import moved
from tests.core.recurrence.test_launch import SIMPLE, B, H, I, P, T

NO_TERMS = {"rows of a term", "an unknown term"}
ON_DEVICE = {"lengths beyond T", "no length", "a horizon beyond the start", "a negative horizon"}
"""A failed assertion on a GPU ends the process' use of it: these run where tensors are in main memory."""


@pytest.fixture(autouse=True)
def as_users_run_it() -> Iterator[None]:
    """Outside of tests nobody checks annotations: the engine must check by itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", sorted(set(SIMPLE) - NO_TERMS))
def test_the_gpu_engine_says_what_is_wrong(gpu, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if gpu.device == "cuda" and name in ON_DEVICE:
        pytest.skip("asserted on the device")
    case = Case(shape=(P, T, B, H, I))
    record, trace, _ = case.run(gpu)
    monkeypatch.setattr(compiling, "kernel", lambda *a, **k: pytest.fail("a kernel was launched"))
    with pytest.raises((TypeError, ValueError)):
        SIMPLE[name](gpu, case, record, trace)


def test_another_device_is_another_place(gpu) -> None:
    case = Case(shape=(P, T, B, H, I))
    with pytest.raises(TypeError, match=r"lengths is torch\.int64 on meta"):
        gpu.engine.forward(*moved((case.inputs, case.weights), gpu.device), case.act, case.lengths.to("meta"))


def test_more_states_than_a_program_counts_are_refused(gpu) -> None:
    case = Case(shape=(1, 1, 1, 4, 2))
    long = torch.zeros(1, 1, 1, 2, dtype=F64).expand(1, 2**20, 2**9, 2)
    with pytest.raises(ValueError, match=r"a row has 2147485696 states"):
        gpu.engine.forward(long, case.weights, ACTIVATIONS["tanh"], torch.ones(1, dtype=torch.int64))


def test_numbers_on_a_device_are_asserted_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """On meta tensors nothing can be read: only the device's own assertion is left."""
    asserted: list[tuple[tuple[int, ...], str]] = []
    monkeypatch.setattr(torch, "_assert_async", lambda inside, text: asserted.append((tuple(inside.shape), text)))
    at = KernelArguments(torch.float32, torch.device("meta"))
    lengths = torch.ones(3, dtype=torch.int64, device="meta")
    assert at.whole("lengths", lengths, 3, 1, 7) is lengths
    assert asserted == [((), "lengths is not within 1..7")]
    with pytest.raises(ValueError, match="lengths is"):
        at.whole("lengths", lengths, 4, 1, 7)
    with pytest.raises(TypeError, match="cpu"):
        at.whole("lengths", lengths.new_ones(3, device="cpu"), 3, 1, 7)
