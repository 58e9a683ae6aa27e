"""What is done to one line of numbers, in vectors: LLVM would not make them, as lines might overlap for all it knows.

Lines are given by the address of their matrix and the index of their first entry. What is left behind whole vectors is
loaded and stored by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.cpu.numbers import intrinsic
from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.vector import I64, FirstLanes, Lanes, Vec
from rnnsweep.core.recurrence.cpu.host import UNIT_BYTES

_WHOLE = types.int64


def _each_vector(context: Any, builder: Any, like: Any, count: Any, write: Callable[[Lanes, Any], None]) -> None:
    """`write` for all vectors of a line, the last one with the lanes that there are."""
    real = context.get_value_type(like)
    k = Lanes(builder, real)
    rest = builder.and_(count, I64(k.width - 1))
    with cgutils.for_range_slice(builder, I64(0), builder.sub(count, rest), I64(k.width), I64) as (index, _):
        write(k, index)
    with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
        write(FirstLanes(builder, real, UNIT_BYTES, rest), builder.sub(count, rest))


def _sum(k: Lanes, x: Vec) -> Any:
    """Of a vector's lanes, by halves."""
    value: Any = x.value
    width = k.width
    while width > 1:
        width //= 2
        # the lower lanes, the upper ones
        lanes = [ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(at, at + width)]) for at in (0, width)]
        low, high = (k.builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), one) for one in lanes)
        value = k.builder.fadd(low, high)
    return k.builder.extract_element(value, ir.IntType(32)(0))


@intrinsic
def dot(typing: Any, x: Any, x_first: Any, y: Any, y_first: Any, count: Any, like: Any) -> Any:  # noqa: PLR0913
    """The sum of x y over a line."""
    del typing, x, x_first, y, y_first, count
    kind = types.unliteral(like)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        x, x_first, y, y_first, count, _ = arguments
        lanes = Lanes(builder, context.get_value_type(kind))
        sums = cgutils.alloca_once_value(builder, lanes.constant(0.0).value)

        def write(k: Lanes, index: Any) -> None:
            pair = k.load(x, builder.add(x_first, index)), k.load(y, builder.add(y_first, index))
            builder.store(k.fma(*pair, Vec(k, builder.load(sums))).value, sums)

        _each_vector(context, builder, kind, count, write)
        return _sum(lanes, Vec(lanes, builder.load(sums)))

    return kind(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, kind), generate


@intrinsic
def add_scaled(typing: Any, target: Any, first: Any, x: Any, x_first: Any, count: Any, factor: Any) -> Any:  # noqa: PLR0913
    """Adds x times a factor to a line."""
    del typing, target, first, x, x_first, count
    kind = types.unliteral(factor)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        target, first, x, x_first, count, factor = arguments

        def write(k: Lanes, index: Any) -> None:
            place = builder.add(first, index)
            more = k.fma(k.load(x, builder.add(x_first, index)), k.splat(factor), k.load(target, place))
            k.store(more, target, place)

        _each_vector(context, builder, kind, count, write)
        return context.get_dummy_value()

    return types.void(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, kind), generate


@intrinsic
def gated_quotient(  # noqa: PLR0913
    typing: Any, x: Any, gate: Any, target: Any, shown: Any, count: Any, divisor: Any
) -> Any:
    """target = x / divisor, shown = sigmoid(gate) target, over a line; each place is (address, first entry)."""
    del typing
    kind = types.unliteral(divisor)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        places = [cgutils.unpack_tuple(builder, place, 2) for place in arguments[:4]]
        count, divisor = arguments[4:]

        def write(k: Lanes, index: Any) -> None:
            at = [(address, builder.add(first, index)) for address, first in places]
            value = k.load(*at[0]) / k.splat(divisor)
            k.store(value, *at[2])
            share = k.constant(1.0) / (formulas.exp(k, -k.load(*at[1])) + 1.0)
            k.store(value * share, *at[3])

        _each_vector(context, builder, kind, count, write)
        return context.get_dummy_value()

    return types.void(x, gate, target, shown, _WHOLE, kind), generate
