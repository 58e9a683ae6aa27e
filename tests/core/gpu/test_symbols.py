"""Symbols and patterns in one launch, beside torch's operations, to the bit."""

from __future__ import annotations

import importlib

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.memorization import Memorization
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.tasks.permutation import Permutation

TASKS = [
    Copying(length=7),
    Copying(length=[3, 30], variant="exprnn"),
    Memorization(length=11),
    Memorization(length=[1, 9]),
]


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def launches(device: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels used on this device as on a GPU; those of `core.gpu.symbols`, by name."""
    module, words = (importlib.import_module(f"rnnsweep.core.{name}") for name in ("gpu.symbols", "gpu.random_numbers"))
    launch, done = module.launch, []

    def counted(kernel, *arguments, **sizes) -> None:
        done.append(kernel.fn.__name__)
        launch(kernel, *arguments, **sizes)

    monkeypatch.setattr(module, "launch", counted)
    monkeypatch.setattr(rng, "kernels_on", lambda device: words)
    return done


def draws_of(device: str, P: int, B: int, dtype: torch.dtype, *, tokens: bool) -> rng.Draws:
    keys = torch.tensor([rng.key(3, p, "test") for p in range(P)])
    given = (keys, torch.arange(P * B).reshape(P, B), torch.arange(P))
    return rng.Draws(*(one.to(device) for one in given), dtype, tokens=tokens)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 40)])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{type(task).__name__}-{task.length}")
def test_patterns_are_those_of_torch(launches, device, monkeypatch, task: Task, shape, tokens):
    P, B = shape
    with monkeypatch.context() as patch:
        patch.setattr(rng.Draws, "fast", False)
        made = task.batch(draws_of(device, P, B, torch.float32, tokens=tokens))
    assert launches == ["recall_kernel"]
    with monkeypatch.context() as patch:
        patch.setattr(rng, "kernels_on", lambda device: None)
        wanted = task.batch(draws_of("cpu", P, B, torch.float32, tokens=tokens))
    for name in ("inputs", "targets", "lengths"):
        mine, plain = getattr(made, name), getattr(wanted, name)
        assert mine.dtype == plain.dtype
        assert torch.equal(mine.cpu(), plain), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 6, 100, 3000])
@pytest.mark.parametrize("each", [False, True])
def test_one_hot_vectors_are_those_of_torch(launches, device, monkeypatch, width, each, dtype):
    """Lengths of rows, or of their sequences."""
    draws, lengths = draws_of(device, 2, 3, dtype, tokens=False), torch.tensor([7, 4])
    codes = torch.arange(2 * 7 * 3).reshape(2, 7, 3) * 31 % width
    own = row_steps(lengths, 7)
    own = own[..., None] & (torch.arange(3) > 0) if each else own
    mine = symbols(codes.to(device), own.to(device), width, draws)
    assert launches == ["hot_kernel"]
    monkeypatch.setattr(rng, "kernels_on", lambda device: None)
    plain = symbols(codes, own, width, draws_of("cpu", 2, 3, dtype, tokens=False))
    assert mine.dtype == plain.dtype
    assert torch.equal(mine.cpu(), plain)


def test_more_symbols_than_a_program_can_write_are_torchs(launches, device):
    codes, own = torch.tensor([[[4999]]], device=device), torch.ones(1, 1, dtype=torch.bool, device=device)
    assert symbols(codes, own, 5000, draws_of(device, 1, 1, torch.float32, tokens=False)).sum() == 1
    assert launches == []


def test_tasks_of_symbols_use_it(launches, device, monkeypatch):
    monkeypatch.setattr(rng.Draws, "fast", False)
    Permutation(length=9).batch(draws_of(device, 2, 3, torch.float32, tokens=False))
    assert launches == ["hot_kernel"]
