"""What is done to one line of numbers, in vectors: LLVM would not make them, as lines might overlap for all it knows.

Lines are given by the address of their matrix and the index of their first entry. What is left behind whole vectors is
loaded and stored by itself.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.cpu.numbers import intrinsic
from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.vector import I64, FirstLanes, Lanes, Vec
from rnnsweep.core.recurrence.cpu.emit.vectors import neighbours
from rnnsweep.core.recurrence.cpu.host import VECTOR_BYTES

_WHOLE = types.int64


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
        real = context.get_value_type(kind)
        lanes = Lanes(builder, real, VECTOR_BYTES)
        sums = cgutils.alloca_once_value(builder, lanes.constant(0.0).value)

        def write(k: Lanes, index: Any) -> None:
            pair = k.load(x, builder.add(x_first, index)), k.load(y, builder.add(y_first, index))
            builder.store(k.fma(*pair, Vec(k, builder.load(sums))).value, sums)

        # one kind of vector, so that the sum's order depends on the count alone
        rest = builder.and_(count, I64(lanes.width - 1))
        with cgutils.for_range_slice(builder, I64(0), builder.sub(count, rest), I64(lanes.width), I64) as (index, _):
            write(lanes, index)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            write(FirstLanes(builder, real, VECTOR_BYTES, rest), builder.sub(count, rest))
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

        neighbours(Lanes(builder, context.get_value_type(kind)), count, write)
        return context.get_dummy_value()

    return types.void(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, kind), generate


@intrinsic
def weigh(  # noqa: PLR0913
    typing: Any, scores: Any, sums: Any, line: Any, count: Any, keep: Any, scale: Any
) -> Any:
    """scores[s] times what line s weighs for line t: e^(keep_{s+1} + .. + keep_t + write_s); 0 for s > t.

    Args:
        scores: address of `count` numbers, whole vectors.
        sums: addresses of as many sums of keep up to the line before, of what the last additions made too much of, and
            of write. The first two are brought up to line t; of lines that are still to come they are 0.
        line: t.
        keep: of line t.
        scale: of all weights.
    """
    del typing, scores, line, count, keep
    kind = types.unliteral(scale)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        scores, sums, line, count, keep, scale = arguments
        totals, losses, writes = cgutils.unpack_tuple(builder, sums, 3)
        keep, scale = (context.cast(builder, one, kind, kind) for one in (keep, scale))

        def write(v: Lanes, j: Any) -> None:
            # the lines before t, and t as well
            before, seen = (_below(v, builder.sub(builder.add(line, I64(more)), j)) for more in (0, 1))
            total, lost = v.load(totals, j), v.load(losses, j)
            y = v.splat(keep) - lost
            more = total + y
            lost, total = v.select(before, (more - total) - y, lost), v.select(before, more, total)
            v.store(total, totals, j)
            v.store(lost, losses, j)
            weight = formulas.exp(v, total + (v.load(writes, j) - lost)) * v.splat(scale)
            v.store(v.select(seen, v.load(scores, j) * weight, v.constant(0.0)), scores, j)

        neighbours(Lanes(builder, context.get_value_type(kind)), count, write)
        return context.get_dummy_value()

    return types.void(_WHOLE, sums, _WHOLE, _WHOLE, kind, kind), generate


def _below(v: Lanes, count: Any) -> Any:
    """Mask of the lanes below `count`, which may be negative."""
    number, b = ir.IntType(v.bits), v.builder
    lanes = ir.Constant(v.int_type, [ir.Constant(number, lane) for lane in range(v.width)])
    lane0 = b.insert_element(ir.Constant(v.int_type, ir.Undefined), b.trunc(count, number), ir.IntType(32)(0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), v.width), [0] * v.width)
    return b.icmp_signed(">", b.shuffle_vector(lane0, lane0, order), lanes)


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

        neighbours(Lanes(builder, context.get_value_type(kind)), count, write)
        return context.get_dummy_value()

    return types.void(x, gate, target, shown, _WHOLE, kind), generate
