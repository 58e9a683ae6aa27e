"""exp and log1p of vectors: how near they are, that every lane has the same, and what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numba
import numpy as np
import pytest
from numba.core import types

from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.vector import Lanes, intrinsic
from rnnsweep.core.recurrence.cpu.emit.vectors import neighbours, out_of_line
from tests.core.recurrence.test_cpu_engine import ulps


class Applied(NamedTuple):
    """out = f(x), of `count` numbers that lie without gaps."""

    out: int
    x: int
    count: int


def loop(name: str) -> Callable[..., Any]:
    """The loop of one function of `formulas`."""

    def write(k: Lanes, args: Applied) -> None:
        f = getattr(formulas, name)
        neighbours(k, args.count, lambda v, j: v.store(f(v, v.load(args.x, j)), args.out, j))

    @intrinsic
    def apply(typingctx: Any, zero: Any, operands: Any) -> Any:
        return types.void(zero, operands), out_of_line(f"test_{name}", Applied, write)

    @numba.njit
    def run(zero: Any, out: int, x: int, count: int) -> None:
        apply(zero, Applied(out=out, x=x, count=count))

    return run


LOOPS = {name: loop(name) for name in ("exp", "log1p")}


def applied(name: str, x: np.ndarray) -> np.ndarray:
    x, out = np.ascontiguousarray(x), np.empty_like(x)
    LOOPS[name](x.dtype.type(0), out.ctypes.data, x.ctypes.data, len(x))
    return out


def places(name: str, dtype: type, count: int) -> np.ndarray:
    """All of the range: where exp is a denormal number too; for log1p 0 to 1, and small numbers."""
    if name == "exp":
        lowest, highest = (-103.0, 88.7) if dtype is np.float32 else (-744.0, 709.7)
        near = np.linspace(-2, 2, count // 2)
        return np.concatenate((np.linspace(lowest, highest, count // 2), near)).astype(dtype)
    small = np.logspace(-30, 0, count // 2)
    # where the two ways of log1p meet, and 1
    ends = [0.0, 1.0, 0.5, np.nextafter(dtype(0.5), dtype(1)), np.nextafter(dtype(0.5), dtype(0))]
    return np.concatenate((np.linspace(0, 1, count // 2), small, ends)).astype(dtype)


@pytest.mark.parametrize("name", list(LOOPS))
def test_float64_is_within_one_ulp(name: str) -> None:
    x = places(name, np.float64, 4000)
    with mpmath.workdps(40):
        # as two numbers, so that what is compared with is not rounded itself
        true = [getattr(mpmath, name)(mpmath.mpf(float(v))) for v in x]
        high = np.array([float(v) for v in true])
        low = np.array([float(v - mpmath.mpf(h)) for v, h in zip(true, high.tolist(), strict=True)])
    off = np.abs((applied(name, x) - high) - low) / np.spacing(np.abs(high))
    assert off.max() <= 1.0, off.max()


@pytest.mark.parametrize("name", list(LOOPS))
def test_float32_is_within_one_ulp_and_a_tenth(name: str) -> None:
    x = places(name, np.float32, 1 << 17)
    assert ulps(applied(name, x), getattr(np, name)(x.astype(np.float64))) <= 1.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(LOOPS))
def test_every_lane_has_the_same(name: str, dtype: type) -> None:
    x = places(name, dtype, 64)[:61]
    whole = applied(name, x)
    for first in range(1, 17):
        for last in (30, 47, 60):
            assert np.array_equal(applied(name, x[first:last]), whole[first:last])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_beyond_the_range(dtype: type) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 800.0, -800.0, 1e30, -1e30], dtype=dtype)
    assert np.array_equal(applied("exp", x), np.array([np.nan, np.inf, 0, 1, 1, np.inf, 0, np.inf, 0]), equal_nan=True)
    x = np.array([np.nan, 0.0, np.finfo(dtype).smallest_subnormal], dtype=dtype)
    assert np.array_equal(applied("log1p", x), x, equal_nan=True)
