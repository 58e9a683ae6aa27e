"""What compiled passes share: numbers at an address, sums in lanes, the norm of a row.

Shapes: P rows · N entries of a row.

Numerics:
    No fast-math: products and sums are rounded one by one, as by torch. A sum runs in lanes whose order depends on N
    alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba.core import cgutils, types
from numba.extending import intrinsic as _intrinsic
from torch import Tensor

from rnnsweep.core.host_graph import address_of, launch
from rnnsweep.core.recurrence.cpu.compiling import kernel, part
from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.vector import Single, Vec

intrinsic: Any = _intrinsic
LANES = 64
"""Partial sums of a row, side by side: eight vectors of float32, so that no addition waits for the one before."""
_LOW, _HIGH = 1e-25, 1e35
"""As in `numerics.row_norm`: sums of squares that have neither lost digits nor come near the largest number."""


@intrinsic
def at(typing: Any, address: Any, like: Any) -> Any:
    """Numbers of the type of `like` from an address on."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.unliteral(like))(types.int64, like), generate


@intrinsic
def number(typing: Any, value: Any, like: Any) -> Any:
    """A number as one of the type of `like`: beside float32, numba takes whole numbers for float64."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.cast(builder, arguments[0], signature.args[0], signature.return_type)

    return types.unliteral(like)(types.unliteral(value), like), generate


@intrinsic
def exponential(typing: Any, x: Any) -> Any:
    """e^x, as the loops have it: a loop over it becomes one of vectors, as no call of the C library does."""
    del typing
    return types.unliteral(x)(x), _written(formulas.exp)


@intrinsic
def log1p(typing: Any, x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1, likewise."""
    del typing
    return types.unliteral(x)(x), _written(formulas.log1p)


def _written(formula: Any) -> Any:
    """What numba calls to write a vector's formula for one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = Single(builder, context.get_value_type(signature.return_type))
        return formula(one, Vec(one, arguments[0])).value

    return generate


@intrinsic
def entries(typing: Any, addresses: Any, index: Any, like: Any) -> Any:
    """Of each address's numbers the one at `index`, as a tuple."""
    del typing
    kind = types.unliteral(like)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real = context.get_value_type(kind)
        found = []
        for address in cgutils.unpack_tuple(builder, arguments[0], len(addresses)):
            pointer = builder.inttoptr(address, real.as_pointer())
            found.append(builder.load(builder.gep(pointer, [arguments[1]], source_etype=real), typ=real))
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(kind, len(addresses))(addresses, types.int64, like), generate


@intrinsic
def put(typing: Any, addresses: Any, index: Any, values: Any) -> Any:
    """Write a tuple's numbers to `index` of each address's."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pairs = (cgutils.unpack_tuple(builder, arguments[k], len(addresses)) for k in (0, 2))
        for address, value in zip(*pairs, strict=True):
            pointer = builder.inttoptr(address, value.type.as_pointer())
            builder.store(value, builder.gep(pointer, [arguments[1]], source_etype=value.type))
        return context.get_dummy_value()

    return types.void(addresses, types.int64, values), generate


@part
def finite(x):
    """Whether x is neither NaN nor infinite, as `numerics.finite`."""
    return x - x == 0


@part
def square_sum(x, base, N, first, second, lanes):
    """Of N numbers from `base` on, each times `first`, then times `second`: in lanes, which are added up by halves."""
    for j in range(LANES):
        lanes[j] = 0
    whole = N // LANES * LANES
    for begin in range(base, base + whole, LANES):
        for j in range(LANES):
            y = x[begin + j] * first * second
            lanes[j] += y * y
    for j in range(N - whole):
        y = x[base + whole + j] * first * second
        lanes[j] += y * y
    width = LANES // 2
    while width:
        for j in range(width):
            lanes[j] += lanes[width + j]
        width //= 2
    return lanes[0]


@part
def power_of_two(e, like):
    """2**e as two factors, since it could itself overflow."""
    half = e >> 1
    return number(math.ldexp(1.0, half), like), number(math.ldexp(1.0, e - half), like)


@part
def row_norm(x, base, N, lanes, zero):
    """As `numerics.row_norm`, of one row."""
    one = number(1, zero)
    total = square_sum(x, base, N, one, one, lanes)
    # seldom: two more passes over the row
    if total <= _LOW or not total < _HIGH:
        most = zero
        for i in range(base, base + N):
            most = max(most, abs(x[i]))
        e = 0
        if finite(most):
            _, e = math.frexp(np.float64(most))
        first, second = power_of_two(-e, zero)
        norm = math.sqrt(square_sum(x, base, N, first, second, lanes))
        first, second = power_of_two(e, zero)
        return norm * first * second
    return math.sqrt(total)


@part
def root(x):
    """As `core.optimizers.base` has it, for one entry; so are the three that follow."""
    return math.sqrt(x)


@part
def ratio(x, y):
    """See `root`."""
    return x / y


@part
def plus(fresh, x):
    """See `root`."""
    return fresh + x


@part
def where(condition, x, y):
    """See `root`."""
    return x if condition else y


@part
def correction(beta, taken):
    """As `optimizers.base.correction`, of one row; both are numbers of the row's type."""
    base = max(np.float64(beta), 1e-300)
    return number(1 - math.exp((np.float64(taken) + 1) * math.log(base)), beta)


@kernel
def corrections_kernel(beta, taken, P, out, zero):
    """`correction` of each row."""
    beta, taken, out = at(beta, zero), at(taken, zero), at(out, zero)
    for p in range(P):
        out[p] = correction(beta[p], taken[p])


@kernel
def roots_kernel(x, N, out, zero):
    """Of N numbers."""
    x, out = at(x, zero), at(out, zero)
    for i in range(N):
        out[i] = math.sqrt(x[i])


@kernel
def norms_kernel(x, P, N, step, out, zero, squared):  # noqa: PLR0913
    """2-norms of rows that begin `step` numbers apart, or their sums of squares as they come."""
    lanes, one = np.full(LANES, zero), number(1, zero)
    x, out = at(x, zero), at(out, zero)
    for p in range(P):
        if squared:
            out[p] = square_sum(x, p * step, N, one, one, lanes)
        else:
            out[p] = row_norm(x, p * step, N, lanes, zero)


@kernel
def finite_kernel(x, P, N, step, out, zero):
    """Whether all numbers of a row are finite, as int8."""
    x, out = at(x, zero), at(out, np.int8(0))
    for p in range(P):
        bad = np.int32(0)
        for i in range(p * step, p * step + N):
            bad |= np.int32(not finite(x[i]))
        out[p] = bad == 0


def square_sums(x: Float[Tensor, "P N"]) -> Float[Tensor, " P"]:
    """See `numerics.square_sum`."""
    return _per_row(x, norms_kernel, x.new_empty(len(x)), True)


def row_norms(x: Float[Tensor, "P N"]) -> Float[Tensor, " P"]:
    """See `numerics.row_norm`."""
    return _per_row(x, norms_kernel, x.new_empty(len(x)), False)


def rows_finite(x: Float[Tensor, "P N"]) -> Bool[Tensor, " P"]:
    """See `numerics.rows_finite`."""
    return _per_row(x, finite_kernel, x.new_empty(len(x), dtype=torch.bool))


def corrections(beta: Float[Tensor, "P 1"], taken: Float[Tensor, "P 1"]) -> Float[Tensor, "P 1"]:
    """See `optimizers.base.correction`."""
    beta, taken, out = beta.contiguous(), taken.to(beta).contiguous(), torch.empty_like(beta)
    launch(corrections_kernel, address_of(beta), address_of(taken), len(beta), address_of(out), zero_of(beta.dtype))
    return out


def roots(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """See `optimizers.base.root`."""
    x = x.contiguous()
    out = torch.empty_like(x)
    launch(roots_kernel, address_of(x), x.numel(), address_of(out), zero_of(x.dtype))
    return out


def zero_of(dtype: torch.dtype) -> Any:
    """0 of an element type: it tells kernels which one."""
    return np.float32(0) if dtype == torch.float32 else np.float64(0)


def _per_row(x: Tensor, run: Any, out: Tensor, *more: Any) -> Tensor:
    # rows may lie apart: a parameter's in a slab of all
    if x.shape[1] > 1 and x.stride(1) != 1:
        x = x.contiguous()
    launch(run, address_of(x), *x.shape, x.stride(0), address_of(out), zero_of(x.dtype), *more)
    return out
