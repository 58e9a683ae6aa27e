"""The exponential of skew matrices by products and one inverse, row by row, with its pull-back.

A Pade approximant N^{-1} (V + U), N = V - U, of degree 7: V even and U odd in A. With A skew V is symmetric, U is skew,
and the quotient is orthogonal by construction. A is halved s times and the result squared as often, s each row's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.families.orthogonal_maps import definite_inverse
from rnnsweep.core.host_graph import asked
from rnnsweep.core.recurrence.cpu.engine.skew_exponentials import Approximant, skew_exponentials
from rnnsweep.core.recurrence.cpu.engine.skew_inverses import skew_inverses
from rnnsweep.core.recurrence.gpu import available

# Over the first of them, so that numbers stay near 1.
_EVEN = (1.0, 1995840 / 17297280, 25200 / 17297280, 56 / 17297280)
_ODD = (8648640 / 17297280, 277200 / 17297280, 1512 / 17297280, 1 / 17297280)
_LARGEST = {torch.float32: 2.5, torch.float64: 0.950}
"""2-norms up to which the approximant is as good as the type, and V, near cos(w / 2) of angles w, stays positive.

The former alone would allow 3.925 in float32; but V is the symmetric part of N, which elimination without pivoting goes
by (`definite_inverse`), and beyond pi it has another sign.
"""
_MOST = 10
"""Halvings at most: up to norms of 2560 (float32) and 970, of angles that went round a hundred times."""


@runtime_checkable
class Squares(Protocol):
    """A matrix squared as often as each row wants it."""

    @property
    def x(self) -> Float[Tensor, "P M M"]:
        """What was squared."""
        ...

    @property
    def value(self) -> Float[Tensor, "P M M"]:
        """The result."""
        ...

    def pullback(self, gradient: Float[Tensor, "P M M"]) -> Float[Tensor, "P M M"]:
        """dC/dx of dC/d value."""
        ...


class ProductSquares(NamedTuple):
    """By products of all rows together, as `gpu.maps` row by row.

    Attributes:
        counts: how often, of each row.
        results: what was squared, then after every squaring; a row beyond its own count keeps what it has.
    """

    counts: Int64[Tensor, " P"]
    results: tuple[Float[Tensor, "P M M"], ...]

    @property
    def x(self) -> Float[Tensor, "P M M"]:
        """What was squared."""
        return self.results[0]

    @property
    def value(self) -> Float[Tensor, "P M M"]:
        """The result."""
        return self.results[-1]

    def pullback(self, gradient: Float[Tensor, "P M M"]) -> Float[Tensor, "P M M"]:
        """Two products for every squaring."""
        g = gradient
        for done in range(len(self.results) - 1, 0, -1):
            before = self.results[done - 1].transpose(1, 2)
            on = (self.counts >= done)[:, None, None]
            g = torch.where(on, numerics.matmul(before, g) + numerics.matmul(g, before), g)
        return g


@runtime_checkable
class Exponential(Protocol):
    """exp(A) with what its pull-back wants to see again."""

    @property
    def value(self) -> Float[Tensor, "P N N"]:
        """exp(A)."""
        ...

    def pullback(self, gradient: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
        """dC/dA of dC/d exp(A), up to a symmetric part, which a skew matrix does not see; all entries taken as free."""
        ...


@dataclass(frozen=True)
class ProductExponential:
    """By products of all rows together; matrices are padded.

    Attributes:
        size: N. halvings: s of each row.
        a, second, fourth: A / 2^s and its powers. factor: U / A. inverse: of N.
        squares: of the approximant.
    """

    size: int
    halvings: Int64[Tensor, " P"]
    a: Float[Tensor, "P M M"]
    second: Float[Tensor, "P M M"]
    fourth: Float[Tensor, "P M M"]
    factor: Float[Tensor, "P M M"]
    inverse: Float[Tensor, "P M M"]
    squares: Squares

    @property
    def value(self) -> Float[Tensor, "P N N"]:
        """exp(A)."""
        return _cut(self.squares.value, self.size)

    def pullback(self, gradient: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
        """See `Exponential.pullback`.

        Numerics:
            Eight products, and two for every halving. A^2 and A^4 are symmetric, so that of their gradients the
            symmetric parts alone reach the skew one of A.
        """
        g = self.squares.pullback(numerics.padded_square(gradient))
        # R = I + 2 N^-1 U gives dR = N^-1 (dU (R + I) - dV (R - I)).
        left = numerics.matmul(self.inverse.transpose(1, 2), g)
        right = numerics.matmul(left, self.squares.x.transpose(1, 2))
        odd, even = left + right, left - right
        factor = numerics.matmul(self.a, odd).neg_()
        second, fourth, sixth = (even * e + factor * o for e, o in zip(_EVEN[1:], _ODD[1:], strict=True))
        fourth += numerics.matmul(sixth, self.second)
        second += numerics.matmul(self.fourth, sixth)
        second += 2 * numerics.matmul(_symmetric(fourth), self.second)
        found = numerics.matmul(odd, self.factor) - 2 * numerics.matmul(_symmetric(second), self.a)
        found = numerics.scale_by_power(found, -self.halvings[:, None, None])
        return _cut(found, self.size)


@dataclass(frozen=True)
class _Mended:
    """`most`, but for the rows `rest`, which are those of `others`."""

    value: Float[Tensor, "P N N"]
    most: Exponential
    rest: Bool[Tensor, " P"]
    others: Exponential

    def pullback(self, gradient: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
        """See `Exponential.pullback`."""
        found = self.most.pullback(gradient)
        found[self.rest] = self.others.pullback(gradient[self.rest])
        return found


def exponential(a: Float[Tensor, "P N N"]) -> Exponential:
    """exp(A) of skew matrices; a graph through `value` can be differentiated twice too.

    Numerics:
        A is halved until |A^2|_1, which bounds the square of its 2-norm and is not far from it, is below the square of
        `_LARGEST`, but `_MOST` times at most: beyond, the result is still orthogonal, and its pull-back exact, but no
        exponential any more. Five products, an inverse, and one more for every halving: of those that some row
        needs, or, where that cannot be read without waiting for a device, of all, unless a kernel counts for itself
        (`gpu.maps`). Bits are each row's own. Non-finite rows stay alone. On a CPU a row's steps are one kernel
        (`cpu.kernels.exponentials`), but for rows whose elimination asks for pivots.

    References:
        Higham (2005), The scaling and squaring method for the matrix exponential revisited: table 2.3 for degree 7 in
        double precision, and its bound with the rounding unit of single precision.
    """
    if skew_inverses(a) is None:
        return by_products(a)
    largest = _LARGEST[a.dtype] ** 2
    found = skew_exponentials().forward(a, Approximant(_EVEN, _ODD, largest, _MOST))
    steady = found.steady  # of `found`, a recorded update would hold buffers that others wait for
    if asked(lambda: bool(steady.all())):
        return found
    rest = ~steady
    others = by_products(a[rest])
    found.value[rest] = others.value
    return _Mended(found.value, found, rest, others)


def by_products(a: Float[Tensor, "P N N"]) -> ProductExponential:
    """`exponential` for any device and in a graph."""
    padded = numerics.padded_square(a)
    second = numerics.matmul(padded, padded)
    size = second.detach().abs().sum(1).amax(1) / _LARGEST[a.dtype] ** 2
    # size < 2^e: after e / 2 halvings, rounded up, it is below 1.
    halvings = torch.div(numerics.exponent_of(size) + 1, 2, rounding_mode="floor").clamp(min=0, max=_MOST)
    squarings = asked(lambda: int(halvings.max())) if numerics.readable(a) else _MOST
    if squarings:
        power = -halvings[:, None, None]
        padded, second = numerics.scale_by_power(padded, power), numerics.scale_by_power(second, 2 * power)
    fourth = numerics.matmul(second, second)
    powers = second, fourth, numerics.matmul(fourth, second)
    factor = _polynomial(_ODD, powers)
    odd = numerics.matmul(padded, factor)
    inverse = definite_inverse(_polynomial(_EVEN, powers) - odd)
    eye = torch.eye(padded.shape[1], dtype=a.dtype, device=a.device)
    squares = _squared(eye + 2 * numerics.matmul(inverse, odd), halvings, squarings)
    return ProductExponential(a.shape[1], halvings, padded, second, fourth, factor, inverse, squares)


def _squared(x: Tensor, counts: Tensor, most: int) -> Squares:
    recorded = torch.is_grad_enabled() and x.requires_grad
    kernels = None if recorded else available.map_kernels(x)
    if kernels is not None:
        return kernels.squared(x, counts, most)
    results = [x]
    for done in range(most):
        on = (counts > done)[:, None, None]
        results.append(torch.where(on, numerics.matmul(results[-1], results[-1]), results[-1]))
    return ProductSquares(counts, tuple(results))


def _polynomial(coefficients: tuple[float, ...], powers: tuple[Tensor, ...]) -> Tensor:
    """c_0 I + c_1 A^2 + c_2 A^4 + c_3 A^6."""
    result = coefficients[0] * torch.eye(powers[0].shape[1], dtype=powers[0].dtype, device=powers[0].device)
    for value, power in zip(coefficients[1:], powers, strict=True):
        result = torch.add(result, power, alpha=value)
    return result


def _symmetric(x: Tensor) -> Tensor:
    return (x + x.transpose(1, 2)) / 2


def _cut(x: Tensor, size: int) -> Tensor:
    return x if x.shape[1] == size else x[:, :size, :size].contiguous()
