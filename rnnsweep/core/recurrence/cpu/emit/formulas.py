"""Activations, their slopes and Jacobian products as vector instructions; the codes are indices into `CODES`.

Numerics:
    tanh is -m / (2 + m) with m = expm1(-2|x|): one formula for all x, odd to the bit, monotone saturation to 1,
    NaN stays NaN, and tanh(-0) = -0. expm1 reduces by multiples of ln 2 and sums a polynomial. Measured over all of
    the range (tests/core/recurrence/test_cpu_engine.py): float32 within 2.1 ulp, float64 within 3 ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rnnsweep.core.recurrence.cpu.emit.vector import Lanes, Vec

CODES = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity", "modrelu", "oplu")
FROM_OUTPUT = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity")


def expm1(k: Lanes, x: Vec) -> Vec:
    """exp(x) - 1 for x <= 0."""
    single = k.bits == 32
    floor = k.constant(-25.0 if single else -45.0)  # there exp(x) - 1 rounds to -1
    # NaN compares false and passes; -inf becomes the floor, whose expm1 is -1.
    x = k.select(floor > x, floor, x)
    # Adding 1.5 * 2^23 (2^52) leaves round(x / ln 2) in the low mantissa bits.
    magic = 1.5 * 2.0 ** (23 if single else 52)
    shifted = k.fma(x, k.constant(1 / math.log(2)), k.constant(magic))
    n = shifted - magic
    # ln 2 in two parts, the high one short: n times it is exact, and so is the reduced argument.
    high = 0.693145751953125 if single else 0.6931471803691238
    low = 1.4286068203094172e-06 if single else 1.9082149292705877e-10
    r = k.fma(n, k.constant(-low), k.fma(n, k.constant(-high), x))
    # Degrees for which the first dropped term is below half a unit in the last place at ln 2 / 2.
    p = polynomial(k, r, 7 if single else 14)
    mantissa, bias = (23, 127) if single else (52, 1023)
    exponent = k.builder.shl(k.builder.add(k.bits_of(shifted), k.integers(bias)), k.integers(mantissa))
    power = k.from_bits(exponent)
    return k.fma(power, p, power - 1.0)


def polynomial(k: Lanes, r: Vec, degree: int) -> Vec:
    """r + r^2 / 2! + ... + r^degree / degree!, |r| <= ln 2 / 2."""
    q = k.constant(1 / math.factorial(degree))
    for n in range(degree - 1, 1, -1):
        q = k.fma(q, r, k.constant(1 / math.factorial(n)))
    return k.fma(q, r * r, r)


def tanh(k: Lanes, x: Vec) -> Vec:
    """Hyperbolic tangent."""
    m = expm1(k, k.magnitude(x) * -2.0)
    whole = m + 2.0
    lost = m - (whole - 2.0)  # what rounding took from m + 2, exactly; put back to first order, 1 / whole by its chord
    quotient = m / whole
    exact = k.fma(quotient * lost, k.fma(m, k.constant(0.5), k.constant(-0.5)), quotient)
    return k.with_sign(k.magnitude(exact), x)


def value(k: Lanes, name: str, a: Vec, bias: Vec) -> Vec:
    """f(a); `bias` only for modReLU."""
    zero = k.constant(0.0)
    table: dict[str, Callable[[], Vec]] = {
        "tanh": lambda: tanh(k, a),
        "sigmoid": lambda: (tanh(k, a * 0.5) + 1.0) * 0.5,
        "relu": lambda: k.select(a <= zero, zero, a),
        "leaky_relu": lambda: k.select(a > zero, a, a * 0.01),
        "elu": lambda: k.select(a > zero, a, expm1(k, k.select(a > zero, zero, a))),
        "identity": lambda: a,
        "modrelu": lambda: _modrelu(k, a, bias),
        "oplu": lambda: _sorted_pairs(k, a),
    }
    return table[name]()


def _modrelu(k: Lanes, a: Vec, bias: Vec) -> Vec:
    zero = k.constant(0.0)
    size = k.magnitude(a) + bias
    cut = k.select(size <= zero, zero, size)
    # sign(0) = 0, also where the bias is positive
    return k.select(k.magnitude(a) <= zero, zero, k.select(a <= zero, 0.0 - cut, cut))


def _sorted_pairs(k: Lanes, a: Vec) -> Vec:
    return k.select(_swapped(k, a), k.swap_pairs(a), a)


def _swapped(k: Lanes, a: Vec) -> object:
    """Mask, both lanes of a pair alike: the second is larger than the first."""
    mate = k.swap_pairs(a)
    return k.select(k.even(), _one_where(k, mate > a), _one_where(k, a > mate)) > 0.5


def _one_where(k: Lanes, mask: object) -> Vec:
    return k.select(mask, k.constant(1.0), k.constant(0.0))


def slope(k: Lanes, name: str, a: Vec, bias: Vec, y: Vec) -> Vec:
    """f'(a); for OPLU 1 where the pair is swapped."""
    if name == "modrelu":
        return _one_where(k, (k.magnitude(a) + bias) > 0.0)
    if name == "oplu":
        return _one_where(k, _swapped(k, a))
    return slope_from_output(k, name, y)


def slope_from_output(k: Lanes, name: str, y: Vec) -> Vec:
    """f' from y = f(a)."""
    one = k.constant(1.0)
    table: dict[str, Callable[[], Vec]] = {
        "tanh": lambda: one - y * y,
        "sigmoid": lambda: y * (one - y),
        "relu": lambda: _one_where(k, y > 0.0),
        "leaky_relu": lambda: k.select(y > 0.0, one, k.constant(0.01)),
        "elu": lambda: k.select(y > 0.0, one, y + 1.0),
        "identity": lambda: one,
    }
    return table[name]()


def pullback(k: Lanes, name: str, slope: Vec, g: Vec) -> Vec:
    """J_f^T g."""
    if name == "oplu":
        return k.select(slope > 0.0, k.swap_pairs(g), g)
    return slope * g
