"""Layer norm of a block as numba intrinsics, row by row of samples.

Sums go over full vectors lane by lane, then over the lanes by halves, then over what is left: an order that depends on
the number of columns only. Mean first, then the variance of what is left: no cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence import block_formulas as blocks
from rnnsweep.core.recurrence.cpu.emit.block_steps import row_at
from rnnsweep.core.recurrence.cpu.emit.gates import Sample
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import neighbours, out_of_line
from rnnsweep.core.recurrence.cpu.host import VECTOR_BYTES


class Norm(NamedTuple):
    """out = gain hat + shift with hat = (x - mean) spread, row by row of [rows, H].

    Attributes:
        x, ldx, out, ldout: addresses, and entries from one row to the next. gain, shift: [H].
        stats, ldstats: where each row's mean and spread (1 / standard deviation) are.
        again: whether those are known; else they are found and written there.
    """

    x: int
    ldx: int
    out: int
    ldout: int
    gain: int
    shift: int
    stats: int
    ldstats: int
    again: int
    rows: int
    H: int


@intrinsic
def norm(typingctx, zero, operands):
    """See `Norm`."""
    require(Norm, operands)
    return types.void(zero, operands), out_of_line("block_norm", Norm, _write_norm)


def _write_norm(k: Lanes, args: Norm) -> None:
    b, count, one = k.builder, args.H, Lanes(k.builder, k.real, k.bits // 8)
    gain, shift = (Sample(k, address, I64(0)) for address in (args.gain, args.shift))

    def row(x: Sample, out: Sample, stats: Sample) -> None:
        with b.if_then(b.icmp_signed("==", args.again, I64(0))):
            (mean,) = _means(k, count, 1, lambda v, j: [x.load(v, 0, j)])

            def square(v: Lanes, j: Any) -> list[Vec]:
                centred = x.load(v, 0, j) - v.splat(mean)
                return [centred * centred]

            (variance,) = _means(k, count, 1, square)
            stats.store(one.splat(mean), 0, I64(0))
            stats.store(one.constant(1.0) / one.root(one.splat(variance) + blocks.EPSILON), 0, I64(1))
        mean, spread = _numbers(k, stats)

        def write(v: Lanes, j: Any) -> None:
            hat = blocks.normal(x.load(v, 0, j), v.splat(mean), v.splat(spread))
            out.store(hat * gain.load(v, 0, j) + shift.load(v, 0, j), 0, j)

        neighbours(k, count, write)

    _each(k, args.rows, [(args.x, args.ldx), (args.out, args.ldout), (args.stats, args.ldstats)], row)


class NormPull(NamedTuple):
    """From errors g of `Norm.out` to those of its x, plus `more`, row by row of [rows, H]; out may be g.

    Attributes:
        g, ldg, more, ldmore, out, ldout, x, ldx, stats, ldstats: addresses, and entries from one row to the next.
        gain: [H]. dgain, dshift: [H], sums over the rows, which are added to.
    """

    g: int
    ldg: int
    more: int
    ldmore: int
    out: int
    ldout: int
    x: int
    ldx: int
    stats: int
    ldstats: int
    gain: int
    dgain: int
    dshift: int
    rows: int
    H: int


@intrinsic
def norm_pull(typingctx, zero, operands):
    """See `NormPull`."""
    require(NormPull, operands)
    return types.void(zero, operands), out_of_line("block_norm_pull", NormPull, _write_norm_pull)


def _write_norm_pull(k: Lanes, args: NormPull) -> None:
    gain, dgain, dshift = (Sample(k, address, I64(0)) for address in (args.gain, args.dgain, args.dshift))

    def row(g: Sample, more: Sample, out: Sample, x: Sample, stats: Sample) -> None:
        mean, spread = _numbers(k, stats)

        def hat(v: Lanes, j: Any) -> Vec:
            return blocks.normal(x.load(v, 0, j), v.splat(mean), v.splat(spread))

        def errors(v: Lanes, j: Any) -> list[Vec]:
            error = gain.load(v, 0, j) * g.load(v, 0, j)
            return [error, error * hat(v, j)]

        whole, along = _means(k, args.H, 2, errors)

        def write(v: Lanes, j: Any) -> None:
            own, at = g.load(v, 0, j), hat(v, j)
            dgain.store(dgain.load(v, 0, j) + own * at, 0, j)
            dshift.store(dshift.load(v, 0, j) + own, 0, j)
            error = gain.load(v, 0, j) * own
            back = blocks.normal_pull(error, at, v.splat(spread), v.splat(whole), v.splat(along))
            out.store(more.load(v, 0, j) + back, 0, j)

        neighbours(k, args.H, write)

    matrices = [(args.g, args.ldg), (args.more, args.ldmore), (args.out, args.ldout), (args.x, args.ldx)]
    _each(k, args.rows, [*matrices, (args.stats, args.ldstats)], row)


def _each(k: Lanes, rows: Any, matrices: list[tuple[Any, Any]], row: Callable[..., None]) -> None:
    """`row(*samples)` for all rows; matrices are (address, entries from one row to the next)."""
    b = k.builder
    with cgutils.for_range(b, rows) as loop:
        row(*(row_at(k, address, stride, loop.index) for address, stride in matrices))


def _numbers(k: Lanes, stats: Sample) -> list[Any]:
    """A row's mean and spread, as scalars."""
    return [k.builder.load(k.pointer(stats.address, I64(index))) for index in (0, 1)]


def _means(k: Lanes, count: Any, number: int, terms: Callable[[Lanes, Any], list[Vec]]) -> list[Any]:
    """Means of so many terms over `count` columns, as scalars."""
    b = k.builder
    wide = Lanes(b, k.real, VECTOR_BYTES)
    totals, rests = ([cgutils.alloca_once(b, kind) for _ in range(number)] for kind in (wide.type, k.real))
    full = b.udiv(count, I64(wide.width))
    for total in totals:
        b.store(wide.constant(0.0).value, total)
    with cgutils.for_range(b, full) as loop:
        for total, part in zip(totals, terms(wide, b.mul(loop.index, I64(wide.width))), strict=True):
            b.store((Vec(wide, b.load(total)) + part).value, total)
    for total, rest in zip(totals, rests, strict=True):
        b.store(_folded(Vec(wide, b.load(total))), rest)
    width = wide.width
    while width > 1:
        before, width = b.and_(count, I64(-width)), width // 2
        with b.if_then(b.icmp_unsigned("!=", b.and_(count, I64(width)), I64(0))):
            lanes = Lanes(b, k.real, width * k.bits // 8)
            for rest, part in zip(rests, terms(lanes, before), strict=True):
                b.store(b.fadd(b.load(rest), _folded(part)), rest)
    size = b.sitofp(count, k.real)
    return [b.fdiv(b.load(rest), size) for rest in rests]


def _folded(x: Vec) -> Any:
    """The sum of all lanes, by halves, as a scalar: an order that is written down, so that no compiler may choose."""
    b, width = x.lanes.builder, x.lanes.width
    value: Any = x.value
    number = ir.IntType(32)
    while width > 1:
        width //= 2
        nothing = ir.Constant(value.type, ir.Undefined)
        halves: list[Any] = [
            b.shuffle_vector(value, nothing, ir.Constant(ir.VectorType(number, width), list(range(at, at + width))))
            for at in (0, width)
        ]
        value = b.fadd(*halves)
    return b.extract_element(value, number(0))
