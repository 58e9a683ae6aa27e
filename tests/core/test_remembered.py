"""What is remembered is asked for once, and never for numbers that differ in a bit."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnsweep.core import remembered
from rnnsweep.core.remembered import Remembered


class Counted:
    """A function of two tensors that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.double = Remembered(self._double)

    def _double(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return 2 * x + y


def test_equal_arguments_are_asked_for_once_wherever_they_lie():
    counted, x = Counted(), torch.arange(12.0).view(3, 4)
    first = counted.double(x, x)
    strided = torch.cat((x, x), 1)[:, :4]
    assert counted.double(strided, x.clone()) is first
    assert counted.calls == 1


def test_parameters_that_are_written_in_place_are_other_arguments():
    counted, x = Counted(), torch.ones(3)
    counted.double(x, x)
    x[1] = 5
    assert counted.double(x, x).tolist() == [3, 15, 3]


def test_bits_are_compared_not_numbers():
    counted, zero = Counted(), torch.zeros(2)
    assert counted.double(zero, zero).signbit().tolist() == [False, False]
    assert counted.double(-zero, -zero).signbit().tolist() == [True, True]
    bad = torch.full((2,), torch.nan)
    counted.double(bad, bad)
    counted.double(bad, bad)
    assert counted.calls == 3
    counted.double(zero.float(), zero.float())  # tests draw float64
    assert counted.calls == 4


def test_numbers_are_arguments_too():
    calls = []
    times = Remembered(lambda x, n: calls.append(n) or x * n)
    x = torch.ones(2)
    assert [times(x, n).tolist() for n in (2, 3, 2)] == [[2, 2], [3, 3], [2, 2]]
    assert calls == [2, 3]


def test_some_results_are_kept_and_then_forgotten():
    counted = Counted()
    numbers = [torch.full((1,), float(n)) for n in range(remembered._COUNT + 1)]
    for x in (*numbers, *numbers[1:]):
        counted.double(x, x)
    assert counted.calls == len(numbers)
    counted.double(numbers[0], numbers[0])
    assert counted.calls == len(numbers) + 1


def test_graphs_and_large_arguments_are_not_remembered(monkeypatch):
    counted, x = Counted(), torch.ones(2, requires_grad=True)
    for _ in range(2):
        assert counted.double(x, x).requires_grad
    assert counted.calls == 2
    with torch.no_grad():
        counted.double(x, x)
        counted.double(x, x)
    assert counted.calls == 3
    monkeypatch.setattr(remembered, "_LARGEST", 8)
    counted.double(torch.ones(3), torch.ones(3))
    counted.double(torch.ones(3), torch.ones(3))
    assert counted.calls == 5
