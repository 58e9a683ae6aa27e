"""Copying, clearing and fetching ahead as numba intrinsics, in full vectors and cache lines.

A plain loop of numba over addresses stays a loop over single numbers.
"""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.gates import neighbours
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line


class Move(NamedTuple):
    """target = source, of `count` numbers that lie without gaps; the two do not overlap. Below 1: none."""

    target: int
    source: int
    count: int


@intrinsic
def move(typingctx, zero, operands):
    """See `Move`."""
    require(Move, operands)
    return types.void(zero, operands), out_of_line("move", Move, _write_move)


def _write_move(k: Lanes, args: Move) -> None:
    def body(v: Lanes, j: Any) -> None:
        v.store(v.load(args.source, j), args.target, j)

    neighbours(k, _at_least_none(k, args.count), body)


class Blank(NamedTuple):
    """target = 0, of `count` numbers that lie without gaps. Below 1: none."""

    target: int
    count: int


@intrinsic
def blank(typingctx, zero, operands):
    """See `Blank`."""
    require(Blank, operands)
    return types.void(zero, operands), out_of_line("blank", Blank, _write_blank)


def _write_blank(k: Lanes, args: Blank) -> None:
    neighbours(k, _at_least_none(k, args.count), lambda v, j: v.store(v.constant(0.0), args.target, j))


LINE = 64
"""Bytes of a cache line."""


class Ahead(NamedTuple):
    """Bring `count` numbers from `address` on into the second cache; `write`: to be written (1) or read (0).

    No number depends on it, and no address is too wrong for it: what is not there is not brought.
    """

    address: int
    count: int
    write: int


@intrinsic
def fetch_ahead(typingctx, zero, operands):
    """See `Ahead`."""
    require(Ahead, operands)
    return types.void(zero, operands), out_of_line("fetch_ahead", Ahead, _write_fetch_ahead)


def _write_fetch_ahead(k: Lanes, args: Ahead) -> None:
    b, number, byte = k.builder, ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
    lines = b.udiv(b.add(b.mul(_at_least_none(k, args.count), I64(k.bits // 8)), I64(LINE - 1)), I64(LINE))
    # The kind of access must be a constant of the instruction: hence two loops.
    with b.if_else(b.icmp_signed("!=", args.write, I64(0))) as (writing, reading):
        for branch, intent in ((writing, 1), (reading, 0)):
            with branch, cgutils.for_range(b, lines) as loop:
                place = b.inttoptr(b.add(args.address, b.mul(loop.index, I64(LINE))), byte)
                b.call(function, [place, number(intent), number(2), number(1)])


def _at_least_none(k: Lanes, count: Any) -> Any:
    """Counts are differences of sizes, and loops over vectors take them for unsigned."""
    return k.builder.select(k.builder.icmp_signed("<", count, I64(0)), I64(0), count)
