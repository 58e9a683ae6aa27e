"""The sum for modReLU's bias as a numba intrinsic."""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line


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
