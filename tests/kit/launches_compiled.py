"""Every kernel of Triton's as a launch on an H100 would compile it, on a machine without one; a process of its own.

A launch finds out types, tuples, numbers that are 1 and annotations by itself: the package's and Triton's own way there
is taken, up to the launch. Prints how often each kernel was compiled.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from rnnsweep.core import rng
from rnnsweep.core.gpu import gathering, random_numbers, read_outs, sequences, steps, symbols
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR
from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.base import EntrywiseOptimizer
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.recurrence.filtering import DriveFilter
from rnnsweep.core.recurrence.gpu import maps
from rnnsweep.core.recurrence.gpu.filters import GpuFilterLoops


class Absent:
    """A device that is asked for what it is, and not for more."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return device

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def floats(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype)


def whole(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.int64)


def step(unit: EntrywiseOptimizer, dtype: torch.dtype, P: int, N: int, *, clips: bool, decays: bool) -> None:
    def cells() -> steps.Cells:
        return floats(P, dtype=torch.float64), floats(P, dtype=torch.float64)

    column = floats(P, 1, dtype=dtype)
    rows = steps.Rows(
        floats(P, N, dtype=dtype),
        tuple(floats(P, N, dtype=dtype) for _ in unit.slots),
        torch.zeros(P, dtype=torch.int8),
        *(whole(P) for _ in range(4)),
        tuple(column for _ in unit.formula.hypers),
        (column, column) if decays else None,
    )
    nonfinite = floats(P, dtype=torch.float64), torch.zeros(P, dtype=torch.bool)
    told = steps.Told(cells(), cells(), nonfinite, cells() if clips else None, cells())
    limit = steps.Limit(floats(P, dtype=dtype), decays) if clips else None
    gradients, admitted = floats(P, N, dtype=dtype), torch.ones(P, dtype=torch.bool)
    for own in (None, admitted):
        steps.take_steps(unit.formula, rows, gradients, floats(P, dtype=dtype), limit, told, own)
    steps.proposed(unit.formula, rows, gradients, limit, told)


def read_out(dtype: torch.dtype, P: int, B: int, H: int) -> None:
    h, w = floats(P, 3, B, H, dtype=dtype)[:, -1], floats(P, H * 4 + 16, dtype=dtype)
    w_out, b_out = w[:, : H * 4].view(P, H, 4), w[:, H * 4 : H * 4 + 4]
    read_outs.read_last(CROSS_ENTROPY, h, w_out, b_out, whole(P, B))
    read_outs.read_last(SQUARED_ERROR, h, w_out, None, floats(P, B, 4, dtype=dtype))
    read_outs.score(CROSS_ENTROPY, floats(P, B, 4, dtype=dtype), b_out, whole(P, B), floats(P, B, dtype=dtype))
    wanted, weight = floats(P, B, 4, dtype=dtype), floats(P, B, dtype=dtype)
    read_outs.score(BINARY_CROSS_ENTROPY, floats(P, B, 4, dtype=dtype), None, wanted, weight)


def made(P: int, B: int, T: int, *, tokens: bool) -> None:
    draws = rng.Draws(whole(P), whole(P, B), whole(P), tokens=tokens)
    lengths, positions = sequences.place(draws, whole(T + 1, 2, 2), (T, T), (0, 1, 2), prolonged=tokens)
    sequences.order(draws, lengths, positions, T, (3, 4))
    sequences.marked(draws, lengths, positions, T, 4, signed=tokens)
    symbols.recall(draws, lengths, whole(P, B, 3), T, 8, lead=1)
    symbols.hot(whole(P, T, B), torch.ones(P, T, 1, dtype=torch.bool).expand(P, T, B), 6, draws.dtype)


def numbers(P: int, B: int, n: int) -> None:
    keys, ids, bound = whole(P), whole(P, B), whole(P, 1, 1)
    random_numbers.words(keys, ids, 0, n)
    for dtype in (torch.float32, torch.float64):
        random_numbers.uniforms(keys, ids, rng.STREAMS - 1, n, dtype)
    for low, high in ((0, 1), (bound, 2**40), (bound, whole(P, B, n))):
        random_numbers.integers(keys, ids, rng.BATCH, n, low, high)


def filters(dtype: torch.dtype, sizes: tuple[int, int, int, int, int], *, biased: bool) -> None:
    """Momentum and adaptive filters; lengths of rows and of sequences, rates of each."""
    (P, T, B, I, G), loops = sizes, GpuFilterLoops()  # noqa: E741
    bias, after = (floats(P, G, dtype=dtype), floats(P, G, dtype=dtype)) if biased else (None, None)
    inputs, g = floats(P, T, B, I, dtype=dtype), floats(P, T, B, G, dtype=dtype)
    for beta, lengths, each in ((None, whole(P) + 1, 1), (floats(P, T, B, dtype=dtype), whole(P, B) + 1, B)):
        w_in, decay, scale = floats(P, I, G, dtype=dtype), floats(P, T, each, dtype=dtype), floats(P, dtype=dtype)
        record = loops.filtered(inputs, DriveFilter(w_in, bias, after, decay, scale, beta), lengths)
        for further in (False, True):
            loops.filtered_back(record, g, further=further)


def mapped(dtype: torch.dtype, P: int, N: int) -> None:
    x = floats(P, N, N, dtype=dtype)
    maps.inverse(x)
    maps.squared(x, whole(P), 3).pullback(x)
    if dtype == torch.float64:  # the type that eigenvalues are found in
        maps.raised(x, floats(P, dtype=dtype), 0, 34)


def all_of_them() -> None:
    for unit in (Sgd(), Sgd(nesterov=True), Adam(), RmsProp(), RmsProp(epsilon_inside=True), Adagrad()):
        step(unit, torch.float32, 3, 11136, clips=True, decays=False)
    step(Sgd(), torch.float32, 1, 48, clips=False, decays=True)
    step(Adam(), torch.float64, 2, 48, clips=True, decays=True)
    gathering.gather([(0, floats(3, 100, 100)), (10000, floats(3, 1)), (10016, floats(3, 0, 4))], floats(3, 10016))
    gathering.gather([(0, floats(1, 1))], floats(1, 16))
    for dtype in (torch.float32, torch.float64):
        read_out(dtype, 3, 10, 100)
        read_out(dtype, 1, 1, 1)
        filters(dtype, (3, 20, 10, 6, 100), biased=True)
        filters(dtype, (1, 1, 1, 1, 1), biased=False)
        filters(dtype, (2, 5, 10, 40, 21), biased=True)  # more inputs than the kernels take
        for N in (1, 40):
            mapped(dtype, 3, N)
    for P, B, T in ((3, 10, 100), (1, 1, 1)):
        made(P, B, T, tokens=T == 1)
        numbers(P, B, T)


def main() -> None:
    counts: Counter[str] = Counter()
    run = JITFunction.run

    def compiled(kernel: Any, *arguments: Any, warmup: bool, **how: Any) -> None:
        del warmup  # it would be launched
        run(kernel, *arguments, warmup=True, **how)
        counts[kernel.__name__] += 1

    driver.set_active(Absent())
    with mock.patch.object(JITFunction, "run", compiled):
        all_of_them()
    for name, count in counts.items():
        print(name, count)


if __name__ == "__main__":
    main()
