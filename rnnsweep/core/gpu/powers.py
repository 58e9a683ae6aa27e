"""Exact powers of two inside the kernels, by the bits of the floating type.

Numerics:
    As `core.numerics`: the exponent of 0 and of non-finite values is 0; a power is applied as two factors, since one
    could overflow.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def exponent_of(size):
    """e with size = m * 2**e, 1/2 <= m < 1, int32; `size` >= 0."""
    if size.dtype == tl.float64:
        tiny = size < 2.2250738585072014e-308
        field = _field64(tl.where(tiny, size * 18014398509481984.0, size))  # subnormal numbers times 2**54
        e = field - 1022 - tl.where(tiny, 54, 0)
        return tl.where((size == 0) | (field == 2047), 0, e)
    else:
        tiny = size < 1.1754943508222875e-38
        field = _field32(tl.where(tiny, size * 33554432.0, size))  # times 2**25
        e = field - 126 - tl.where(tiny, 25, 0)
        return tl.where((size == 0) | (field == 255), 0, e)


@triton.jit
def _field64(size):
    return ((size.to(tl.int64, bitcast=True) >> 52) & 2047).to(tl.int32)


@triton.jit
def _field32(size):
    return (size.to(tl.int32, bitcast=True) >> 23) & 255


@triton.jit
def scaled(x, power):
    """x * 2**power, exact unless the result leaves the range."""
    # Two factors, since one could overflow where the product does not.
    half = power >> 1
    return x * _power_of_two(half, x.dtype) * _power_of_two(power - half, x.dtype)


@triton.jit
def _power_of_two(power, dtype: tl.constexpr):
    if dtype == tl.float64:
        return ((power.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    else:
        return ((power + 127) << 23).to(tl.float32, bitcast=True)
