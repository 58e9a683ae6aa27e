"""Activations, their slopes and Jacobian products as vector instructions; the codes are indices into `CODES`.

Numerics:
    tanh is u / (1 - u) with u = (1 - exp(-2|x|)) / 2: one formula for all x, odd to the bit, monotone saturation to 1,
    NaN stays NaN, and tanh(-0) = -0. u and expm1 reduce by multiples of ln 2 and sum a polynomial. Measured
    (tests/core/recurrence/test_cpu_engine.py): float32 within 2 ulp over all of its numbers (2.2 before, as
    -m / (2 + m) with m = expm1(-2|x|)), float64 within 3 ulp where it was tried. exp and log1p
    (test_vector_functions.py there): float32 within 1.1 ulp, float64 within 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rnnsweep.core.recurrence.cpu.emit.vector import Lanes, Vec

CODES = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity", "modrelu", "oplu")
FROM_OUTPUT = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity")
LN2 = {32: (0.693145751953125, 1.4286068203094172e-06), 64: (0.6931471803691238, 1.9082149292705877e-10)}
"""By bits of a number: ln 2 as a short number and the rest of it."""


def expm1(k: Lanes, x: Vec) -> Vec:
    """exp(x) - 1 for x <= 0."""
    floor = k.constant(-25.0 if k.bits == 32 else -45.0)  # there exp(x) - 1 rounds to -1
    # NaN compares false and passes; -inf becomes the floor, whose expm1 is -1.
    shifted, p = _reduced(k, k.select(floor > x, floor, x))
    power = _power(k, shifted)
    return k.fma(power, p, power - 1.0)


def exp(k: Lanes, x: Vec) -> Vec:
    """Exponential function: 0 and inf beyond the range, denormal numbers at its end."""
    lowest, highest = (-105.0, 89.0) if k.bits == 32 else (-746.0, 710.0)
    x = k.select(k.constant(lowest) > x, k.constant(lowest), x)
    shifted, p = _reduced(k, k.select(x > highest, k.constant(highest), x))
    # 2^n in two factors, as n may lie outside of the exponents that a number has
    n = k.builder.sub(k.bits_of(shifted), k.bits_of(k.constant(_magic(k))))
    half = k.builder.ashr(n, k.integers(1))
    power = _power(k, k.from_bits(half))
    return k.fma(power, p, power) * _power(k, k.from_bits(k.builder.sub(n, half)))


def _magic(k: Lanes) -> float:
    """1.5 * 2^23 (2^52): added to a number it leaves the nearest whole one in the low mantissa bits."""
    return 1.5 * 2.0 ** (23 if k.bits == 32 else 52)


def _reduced(k: Lanes, x: Vec) -> tuple[Vec, Vec]:
    """Of x = n ln 2 + r: n in the low bits of a vector, and exp(r) - 1."""
    single, magic = k.bits == 32, _magic(k)
    shifted = k.fma(x, k.constant(1 / math.log(2)), k.constant(magic))
    n = shifted - magic
    # ln 2 in two parts, the high one short: n times it is exact, and so is the reduced argument.
    high, low = LN2[k.bits]
    r = k.fma(n, k.constant(-low), k.fma(n, k.constant(-high), x))
    # Degrees for which the first dropped term is below half a unit in the last place at ln 2 / 2.
    return shifted, polynomial(k, r, 7 if single else 14)


def _power(k: Lanes, lanes: Vec) -> Vec:
    """2^n, of n in the low bits of a vector; -bias < n <= bias."""
    mantissa, bias = (23, 127) if k.bits == 32 else (52, 1023)
    return k.from_bits(k.builder.shl(k.builder.add(k.bits_of(lanes), k.integers(bias)), k.integers(mantissa)))


def log1p(k: Lanes, x: Vec) -> Vec:
    """log(1 + x) for 0 <= x <= 1; NaN stays NaN."""
    # 1 + x = 2^e (1 + f) with e = 0 or 1; f is exact either way, and so near 0 that the series is short.
    upper = x > 0.5
    f = k.select(upper, x * 0.5 - 0.5, x)
    # log(1 + f) = 2 artanh(s) = 2 s + 2 s (s^2 / 3 + s^4 / 5 + ...), and 2 s = f - s f
    s = f / (f + 2.0)
    square, terms = s * s, 5 if k.bits == 32 else 11  # the first term dropped is below a quarter of a unit at s = 1 / 5
    q = k.constant(1 / (2 * terms + 1))
    for n in range(terms - 1, 0, -1):
        q = k.fma(q, square, k.constant(1 / (2 * n + 1)))
    rest = s * k.fma(square * 2.0, q, -f)
    high, low = LN2[k.bits]
    return k.select(upper, (rest + low + f) + high, rest + f)


def polynomial(k: Lanes, r: Vec, degree: int) -> Vec:
    """r + r^2 / 2! + ... + r^degree / degree!, |r| <= ln 2 / 2."""
    q = k.constant(1 / math.factorial(degree))
    for n in range(degree - 1, 1, -1):
        q = k.fma(q, r, k.constant(1 / math.factorial(n)))
    return k.fma(q, r * r, r)


def tanh(k: Lanes, x: Vec) -> Vec:
    """Hyperbolic tangent."""
    u = _half_rise(k, k.magnitude(x))
    whole = 1.0 - u
    quotient = u / whole
    # What the quotient lacks of u / (1 - u), put back with 1 / (1 - u) by its chord 1 + 2 u. u minus the quotient is
    # exact, as that is between u and 2 u: so neither the quotient's rounding counts nor that of 1 - u.
    lacks = k.fma(quotient, u, u - quotient)
    return k.with_sign(k.fma(lacks, k.fma(u, k.constant(2.0), k.constant(1.0)), quotient), x)


def _half_rise(k: Lanes, x: Vec) -> Vec:
    """(1 - exp(-2 x)) / 2 for x >= 0; NaN stays NaN."""
    ceiling = k.constant(10.0 if k.bits == 32 else 20.0)  # there it rounds to 1 / 2
    x = k.select(x > ceiling, ceiling, x)
    # x = r - n ln 2 / 2 with |r| <= ln 2 / 4, so that exp(-2 x) = 2^n exp(-2 r). n is at most 29, for which ln 2 as one
    # number is near enough: 2^n n 10^-9 of it are lost (10^-17). n and the exponent's bias lie in the low bits.
    mantissa, bias = (23, 127) if k.bits == 32 else (52, 1023)
    magic = _magic(k) + bias
    shifted = k.fma(x, k.constant(-2 / math.log(2)), k.constant(magic))
    r = k.fma(shifted - magic, k.constant(math.log(2) / 2), x)
    power = k.from_bits(k.builder.shl(k.bits_of(shifted), k.integers(mantissa)))
    # Degrees as in `_reduced`: here 2 r is what r is there.
    terms = [-((-2.0) ** n) / math.factorial(n) / 2 for n in range(2, 8 if k.bits == 32 else 15)]
    q = k.constant(terms[-1])
    for term in reversed(terms[:-1]):
        q = k.fma(q, r, k.constant(term))
    return k.fma(power, k.fma(q, r * r, r), k.fma(power, k.constant(-0.5), k.constant(0.5)))


def value(k: Lanes, name: str, a: Vec, bias: Vec) -> Vec:
    """f(a); `bias` only for modReLU."""
    zero = k.constant(0.0)
    table: dict[str, Callable[[], Vec]] = {
        "tanh": lambda: tanh(k, a),
        "sigmoid": lambda: k.fma(tanh(k, a * 0.5), k.constant(0.5), k.constant(0.5)),
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
