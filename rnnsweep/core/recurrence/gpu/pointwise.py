"""Activations inside the kernels: value, slope and transposed Jacobian, by the formulas of `core.activations`.

Numerics:
    tanh is made of `exp` (rational functions below 0.625, Cephes), 2 ulp at most; NaN stays NaN, +-inf gives +-1.
    Float32 division rounds correctly. Formulas agree with the reference at 0, inf and NaN.

References:
    Moshier, Cephes library, tanhf.c and tanh.c: the coefficients.
"""

from __future__ import annotations

import triton
import triton.language as tl

FUSED = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity", "modrelu", "oplu")
"""Names of the activations that the kernels know."""

# Every branch below ends in an `else`: Triton's compiler types what follows an `if` even where that has returned.


@triton.jit
def tanh(a):
    """Hyperbolic tangent of float32 or float64."""
    size = tl.abs(a)
    z = a * a
    if a.dtype == tl.float64:
        top = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3
        low = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3
        near = a + a * z * (top / low)
    else:
        tail = ((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1
        near = a + a * z * (tail * z - 3.33332819422e-1)
    e = tl.exp(-2.0 * size)
    far = divide(1.0 - e, 1.0 + e)
    return tl.where(size < 0.625, near, tl.where(a < 0, -far, far))


@triton.jit
def divide(top, low):
    """Correctly rounded quotient; the plain operator is 2 ulp off in float32."""
    if top.dtype == tl.float64:
        return top / low
    else:
        return tl.div_rn(top, low)


@triton.jit
def value(a, bias, ACT: tl.constexpr):
    """f(a) of a tile [batch, units]; `bias` [1, units] is modReLU's."""
    if ACT == "tanh":
        return tanh(a)
    elif ACT == "sigmoid":
        return 0.5 * (1.0 + tanh(0.5 * a))
    elif ACT == "elu":
        return tl.where(a > 0, a, tl.exp(tl.where(a > 0, 0.0, a)) - 1.0)
    elif ACT == "modrelu" or ACT == "oplu":
        return _value_of_special(a, bias, ACT)
    elif ACT == "relu":
        return tl.where(a <= 0, 0.0, a)
    elif ACT == "leaky_relu":
        return tl.where(a > 0, a, 0.01 * a)
    else:
        return a


@triton.jit
def _value_of_special(a, bias, ACT: tl.constexpr):
    if ACT == "modrelu":
        size = tl.abs(a) + bias
        size = tl.where(size <= 0, 0.0, size)
        return tl.where(a < 0, -size, tl.where(a > 0, size, a * size))
    else:
        even, odd = _pairs(a)  # pyright: ignore[reportGeneralTypeIssues] - inferred from what `split` raises
        swap = odd > even
        return _joined(tl.where(swap, odd, even), tl.where(swap, even, odd), a)


@triton.jit
def slope(a, y, bias, ACT: tl.constexpr):
    """f'(a), with y = f(a); OPLU: 1 where the pair is swapped."""
    if ACT == "modrelu":
        return tl.where(tl.abs(a) + bias > 0, 1.0, 0.0).to(a.dtype)
    elif ACT == "oplu":
        even, odd = _pairs(a)  # pyright: ignore[reportGeneralTypeIssues] - inferred from what `split` raises
        swap = tl.where(odd > even, 1.0, 0.0).to(a.dtype)
        return _joined(swap, swap, a)
    else:
        return slope_from_output(y, ACT)


@triton.jit
def slope_from_output(y, ACT: tl.constexpr):
    """f'(a) from y = f(a)."""
    one = tl.full(y.shape, 1.0, y.dtype)  # `where` of two plain numbers would be float32
    if ACT == "tanh":
        return 1.0 - y * y
    elif ACT == "sigmoid":
        return y * (1.0 - y)
    elif ACT == "relu":
        return tl.where(y > 0, one, 0.0)
    elif ACT == "leaky_relu":
        return tl.where(y > 0, one, 0.01 * one)
    elif ACT == "elu":
        return tl.where(y > 0, one, y + 1.0)
    else:
        return one


@triton.jit
def pullback(slope, g, ACT: tl.constexpr):
    """The transposed Jacobian of f times g."""
    if ACT == "oplu":
        even, odd = _pairs(g)  # pyright: ignore[reportGeneralTypeIssues] - inferred from what `split` raises
        return tl.where(slope > 0, _joined(odd, even, g), g)
    else:
        return slope * g


@triton.jit
def _pairs(x):
    """The pairs (2i, 2i + 1) of a tile, apart: two tiles [batch, units / 2]."""
    return tl.split(tl.reshape(x, (x.shape[0], x.shape[1] // 2, 2)))


@triton.jit
def _joined(even, odd, like):
    return tl.reshape(tl.join(even, odd), (like.shape[0], like.shape[1]))
