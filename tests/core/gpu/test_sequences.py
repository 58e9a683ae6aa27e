"""Made sequences in few launches, beside the compiled loops of the CPU, to the bit."""

from __future__ import annotations

import dataclasses
import importlib

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.multiplication import Multiplication
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.tasks.temporal_order_3bit import TemporalOrder3bit

TASKS = [
    TemporalOrder(length=20),
    TemporalOrder(length=[12, 71]),
    TemporalOrder(length=33, variant="chernodub"),
    TemporalOrder3bit(length=[20, 40]),
    TemporalOrder(length=20, train_size=7),
    Adding(length=23),
    Adding(length=[10, 60]),
    Adding(length=41, variant="chernodub"),
    Adding(length=9, variant="urnn"),
    Multiplication(length=30),
]


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def launches(device: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels used on this device as on a GPU; what is launched, by name."""
    module, words = (
        importlib.import_module(f"rnnsweep.core.{name}") for name in ("gpu.sequences", "gpu.random_numbers")
    )
    launch, draw, done = module.launch, words._launch, []
    monkeypatch.setattr(
        module, "launch", lambda kernel, *a, **k: done.append(kernel.fn.__name__) or launch(kernel, *a, **k)
    )
    monkeypatch.setattr(words, "_launch", lambda *a, **k: done.append(a[0]) or draw(*a, **k))
    monkeypatch.setattr(rng, "kernels_on", lambda device: words)
    return done


def draws_of(device: str, P: int, B: int, dtype: torch.dtype, tokens: bool, compiled: bool = True) -> rng.Draws:
    keys = torch.tensor([rng.key(3, p, "test") for p in range(P)])
    ids = torch.arange(P * B).reshape(P, B) * 2**31 - 5
    given = (keys, ids, torch.arange(P) + 2**33)
    return rng.Draws(*(one.to(device) for one in given), dtype, tokens=tokens, compiled=compiled)


def assert_same_batch(task: Task, launches: list[str], monkeypatch: pytest.MonkeyPatch, device: str, **how) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rng.Draws, "fast", False)
        made = task.batch(draws_of(device, **how))
    with monkeypatch.context() as patch:
        patch.setattr(rng, "kernels_on", lambda device: None)
        wanted = task.batch(draws_of("cpu", **how))
    for name in ("inputs", "targets", "lengths"):
        mine, plain = getattr(made, name), getattr(wanted, name)
        assert mine.dtype == plain.dtype
        assert torch.equal(mine.cpu(), plain), name


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{type(task).__name__}-{task.variant}-{task.length}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sequences_are_those_of_the_cpu(launches, device, monkeypatch, task, dtype):
    assert_same_batch(task, launches, monkeypatch, device, P=3, B=5, dtype=dtype, tokens=False)
    write = "order_kernel" if task.tokens else "marked_kernel"
    assert launches == ["place_kernel", write]


@pytest.mark.parametrize("shape", [(1, 1), (2, 17), (70, 2)])
def test_mini_batches_that_end_within_a_tile(launches, device, monkeypatch, shape):
    P, B = shape
    for task in (TemporalOrder(length=[12, 40]), Adding(length=23)):
        assert_same_batch(task, launches, monkeypatch, device, P=P, B=B, dtype=torch.float32, tokens=False)


def test_codes_of_symbols_where_they_are_looked_up(launches, device, monkeypatch):
    task = TemporalOrder(length=[12, 40])
    assert_same_batch(task, launches, monkeypatch, device, P=3, B=5, dtype=torch.float32, tokens=True)
    assert launches == ["place_kernel", "order_kernel"]


def test_draws_that_are_not_to_be_compiled_are_torchs(launches, device, monkeypatch):
    monkeypatch.setattr(rng.Draws, "fast", False)
    TemporalOrder(length=20).batch(draws_of(device, 2, 3, torch.float32, tokens=False, compiled=False))
    assert launches == []


def test_tables_stay_where_they_are(launches, device, monkeypatch):
    """What was recorded reads them as long as the task lives."""
    monkeypatch.setattr(rng.Draws, "fast", False)
    task = TemporalOrder(length=20)
    draws = draws_of(device, 2, 3, torch.float32, tokens=False)
    task.batch(draws)
    table = task._window_table_on(draws.device)
    assert task._window_table_on(draws.device) is table
    assert dataclasses.replace(task) == task
