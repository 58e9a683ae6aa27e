"""Sums and largest entries as numba intrinsics: over padded matrices, their rows, or the samples of a step."""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line


class Reduction(NamedTuple):
    """One vector `out`, lane by lane, of `count` vectors x."""

    out: int
    x: int
    count: int


@intrinsic
def largest(typingctx, zero, operands):
    """The `Reduction` to max|x|; NaN is ignored."""
    require(Reduction, operands)
    return types.void(zero, operands), out_of_line("largest", Reduction, _write_largest)


def _write_largest(k: Lanes, args: Reduction) -> None:
    _reduce(k, args, lambda total, x: k.select(k.magnitude(x) > total, k.magnitude(x), total))


@intrinsic
def squares(typingctx, zero, operands):
    """The `Reduction` to sums of squares."""
    require(Reduction, operands)
    return types.void(zero, operands), out_of_line("squares", Reduction, _write_squares)


def _write_squares(k: Lanes, args: Reduction) -> None:
    _reduce(k, args, lambda total, x: k.fma(x, x, total))


def _reduce(k: Lanes, args: Reduction, step: Callable[[Vec, Vec], Vec]) -> None:
    b = k.builder
    # A stack slot that LLVM turns into a register.
    total = cgutils.alloca_once(b, k.type)
    # Starts from 0, so that nothing to reduce gives 0.
    b.store(k.constant(0.0).value, total)
    with cgutils.for_range(b, args.count) as loop:
        b.store(step(Vec(k, b.load(total)), k.load(args.x, b.mul(loop.index, I64(k.width)))).value, total)
    k.store(Vec(k, b.load(total)), args.out, I64(0))


class RowSquares(NamedTuple):
    """out[r] = sum of squares of row r of the padded matrix x: lane by lane, then over the lanes."""

    out: int
    x: int
    rows: int
    vectors: int


@intrinsic
def row_squares(typingctx, zero, operands):
    """See `RowSquares`."""
    require(RowSquares, operands)
    return types.void(zero, operands), out_of_line("row_squares", RowSquares, _write_row_squares)


def _write_row_squares(k: Lanes, args: RowSquares) -> None:
    b = k.builder
    total = cgutils.alloca_once(b, k.type)
    with cgutils.for_range(b, args.rows) as row:
        b.store(k.constant(0.0).value, total)
        first = b.mul(row.index, args.vectors)
        with cgutils.for_range(b, args.vectors) as loop:
            term = k.load(args.x, b.mul(b.add(first, loop.index), I64(k.width)))
            b.store(k.fma(term, term, Vec(k, b.load(total))).value, total)
        lanes = b.load(total)
        # Lane after lane, not a tree: the order is written down here, so that no compiler may choose another.
        whole = b.extract_element(lanes, ir.IntType(32)(0))
        for lane in range(1, k.width):
            whole = b.fadd(whole, b.extract_element(lanes, ir.IntType(32)(lane)))
        b.store(whole, k.pointer(args.out, row.index))


class BiasSum(NamedTuple):
    """sums += share g f' sign(f(a)) over the rows in turn, of `count` vectors: modReLU's part of its bias's gradient.

    The sign of f(a) is that of what the state has beyond its own share of the one before.

    Attributes:
        sums, g, slope, after, before: addresses; all but `sums` of `rows` rows without gaps.
        share: (1 - zone) leak, of the addresses of vectors and of a number; zone_row: whether zone has rows too.
        mixed: whether the state has a share of the one before at all; if not, zone is zero.
    """

    sums: int
    g: int
    slope: int
    after: int
    before: int
    zone: int
    zone_row: int
    leak: int
    mixed: int
    rows: int
    count: int


@intrinsic
def bias_sum(typingctx, zero, operands):
    """See `BiasSum`."""
    require(BiasSum, operands)
    return types.void(zero, operands), out_of_line("bias_sum", BiasSum, _write_bias_sum)


def _write_bias_sum(k: Lanes, args: BiasSum) -> None:
    b, leak = k.builder, k.splat(k.builder.load(k.pointer(args.leak, I64(0))))

    def alone(at: Any, column: Any) -> tuple[Vec, Vec]:
        del column
        return leak, k.load(args.after, at)

    def mixed(at: Any, column: Any) -> tuple[Vec, Vec]:
        zone = b.select(b.icmp_signed("!=", args.zone_row, I64(0)), at, column)
        share = (1.0 - k.load(args.zone, zone)) * leak
        # Not where nothing is mixed: before may be infinite.
        return share, k.load(args.after, at) - (1.0 - share) * k.load(args.before, at)

    with b.if_else(b.icmp_signed("!=", args.mixed, I64(0))) as (with_before, without):
        with with_before:
            _bias_loop(k, args, mixed)
        with without:
            _bias_loop(k, args, alone)


def _bias_loop(k: Lanes, args: BiasSum, own: Callable[[Any, Any], tuple[Vec, Vec]]) -> None:
    """Vector after vector, so that its sum stays in a register over the rows; `own` gives share and f(a)."""
    b, zero = k.builder, k.constant(0.0)
    total = cgutils.alloca_once(b, k.type)
    with cgutils.for_range(b, args.count) as loop:
        column = b.mul(loop.index, I64(k.width))
        b.store(k.load(args.sums, column).value, total)
        with cgutils.for_range(b, args.rows) as row:
            at = b.add(b.mul(b.mul(row.index, args.count), I64(k.width)), column)
            share, y = own(at, column)
            part = share * k.load(args.g, at) * k.load(args.slope, at)
            signed = k.select(zero > y, 0.0 - part, k.select(y <= 0.0, zero, part))
            b.store((Vec(k, b.load(total)) + signed).value, total)
        k.store(Vec(k, b.load(total)), args.sums, column)
