"""The inverse of one small diagonal block, where a blocked elimination divides, as a numba intrinsic."""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line

SIDE = 16
"""Rows and columns of a block: a multiple of every vector's width."""


class Pivots(NamedTuple):
    """block <- block^-1, of `count` rows and columns of [SIDE, SIDE]; what lies beyond is zero, and stays so.

    Attributes:
        growth: address of a number, >= 0 or NaN: raised to the largest entry that the diagonal has meanwhile; NaN is
            larger than all.
    """

    block: int
    count: int
    growth: int


@intrinsic
def invert_block(typingctx, zero, operands):
    """See `Pivots`; Gauss-Jordan elimination along the diagonal, one pivot after the other, none chosen."""
    require(Pivots, operands)
    return types.void(zero, operands), out_of_line("invert_block", Pivots, _write_invert_block)


def _write_invert_block(k: Lanes, args: Pivots) -> None:
    b = k.builder
    mark = _Mark(k, args.growth)
    places = [(I64(first), _lanes_from(k, first)) for first in range(0, SIDE, k.width)]
    with cgutils.for_range(b, args.count) as step:
        own = b.mul(step.index, I64(SIDE))
        reciprocal = k.constant(1.0) / k.splat(b.load(k.pointer(args.block, b.add(own, step.index))))
        at = [b.icmp_unsigned("==", lanes, _whole(k, step.index)) for _, lanes in places]
        pivot = [
            k.select(on, reciprocal, reciprocal * k.load(args.block, b.add(own, first)))
            for on, (first, _) in zip(at, places, strict=True)
        ]
        with cgutils.for_range(b, args.count) as loop:
            row = b.mul(loop.index, I64(SIDE))
            factor = k.splat(b.load(k.pointer(args.block, b.add(row, step.index))))
            same = b.icmp_unsigned("==", loop.index, step.index)
            for on, (first, _), value in zip(at, places, pivot, strict=True):
                # In its own column the identity stands beside the block, and takes the block's place.
                before = k.select(on, k.constant(0.0), k.load(args.block, b.add(row, first)))
                after = k.fma(0.0 - factor, value, before)
                k.store(k.select(same, value, after), args.block, b.add(row, first))
            mark.see(k.pointer(args.block, b.add(row, loop.index)))
    mark.write()


class _Mark:
    """The largest size seen, by its bits: those of numbers >= 0 are ordered as they are, NaN beyond infinity."""

    def __init__(self, k: Lanes, address: Any) -> None:
        self.k, self.b, self.place = k, k.builder, k.pointer(address, I64(0))
        self.integer = ir.IntType(k.bits)
        self.cell = cgutils.alloca_once(self.b, self.integer)
        self.b.store(self._bits(self.place), self.cell)

    def see(self, place: Any) -> None:
        size = self.b.and_(self._bits(place), self.integer((1 << (self.k.bits - 1)) - 1))
        largest = self.b.load(self.cell)
        self.b.store(self.b.select(self.b.icmp_unsigned(">", size, largest), size, largest), self.cell)

    def write(self) -> None:
        self.b.store(self.b.load(self.cell), self._of_bits(self.place))

    def _bits(self, place: Any) -> Any:
        return self.b.load(self._of_bits(place))

    def _of_bits(self, place: Any) -> Any:
        return self.b.bitcast(place, self.integer.as_pointer())


def _lanes_from(k: Lanes, first: int) -> Any:
    """The columns that a vector from column `first` on holds."""
    return ir.Constant(k.int_type, [ir.Constant(ir.IntType(k.bits), first + lane) for lane in range(k.width)])


def _whole(k: Lanes, index: Any) -> Any:
    """A whole number in all lanes."""
    number = index if k.bits == 64 else k.builder.trunc(index, ir.IntType(k.bits))
    lane0 = k.builder.insert_element(ir.Constant(k.int_type, ir.Undefined), number, ir.IntType(32)(0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), k.width), [0] * k.width)
    return k.builder.shuffle_vector(lane0, ir.Constant(k.int_type, ir.Undefined), order)
