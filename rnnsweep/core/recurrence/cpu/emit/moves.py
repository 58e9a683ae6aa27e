"""Copying and clearing as numba intrinsics, in full vectors: a plain loop over addresses stays a loop over numbers."""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core import types

from rnnsweep.core.recurrence.cpu.emit.gates import neighbours
from rnnsweep.core.recurrence.cpu.emit.vector import Lanes, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line


class Move(NamedTuple):
    """target = source, of `count` numbers that lie without gaps; the two do not overlap."""

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

    neighbours(k, args.count, body)


class Blank(NamedTuple):
    """target = 0, of `count` numbers that lie without gaps."""

    target: int
    count: int


@intrinsic
def blank(typingctx, zero, operands):
    """See `Blank`."""
    require(Blank, operands)
    return types.void(zero, operands), out_of_line("blank", Blank, _write_blank)


def _write_blank(k: Lanes, args: Blank) -> None:
    neighbours(k, args.count, lambda v, j: v.store(v.constant(0.0), args.target, j))
