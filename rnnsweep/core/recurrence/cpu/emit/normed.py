"""Layer norm as numba intrinsics: rows to their normalised form, and errors back through it.

Numerics:
    Sums go over full vectors lane by lane, then over the lanes in order, then over what is left one by one: an order
    that depends on the number of columns only. Mean first, then the variance of what is left: no cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.gates import Sample, neighbours
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line
from rnnsweep.core.recurrence.cpu.host import VECTOR_BYTES

EPSILON = 1e-5
"""`recurrence.layer_norm.EPSILON`, here once more: what compiled code is made of lies in this package."""


class Normalise(NamedTuple):
    """out = gain hat + add, hat = (x - mean) spread, row by row of [rows, columns]; out may be x itself.

    Attributes:
        x, ldx, out, ldout, add, ldadd, hat, ldhat: addresses, and entries from one row to the next.
        gain: one row. spread, ldspread: where 1 / standard deviation of each row goes.
    """

    x: int
    ldx: int
    out: int
    ldout: int
    gain: int
    add: int
    ldadd: int
    hat: int
    ldhat: int
    spread: int
    ldspread: int
    rows: int
    columns: int


@intrinsic
def normalise(typingctx, zero, operands):
    """See `Normalise`."""
    require(Normalise, operands)
    return types.void(zero, operands), out_of_line("normalise", Normalise, _write_normalise)


def _write_normalise(k: Lanes, args: Normalise) -> None:
    b, count = k.builder, args.columns
    gain = _row(k, args.gain, I64(0), I64(0))
    with cgutils.for_range(b, args.rows) as loop:
        x, out, add, hat, spread = (
            _row(k, address, stride, loop.index)
            for address, stride in (
                (args.x, args.ldx),
                (args.out, args.ldout),
                (args.add, args.ldadd),
                (args.hat, args.ldhat),
                (args.spread, args.ldspread),
            )
        )
        mean = _mean(k, count, lambda v, j: x.load(v, 0, j))

        def square(v: Lanes, j: Any) -> Vec:
            centred = x.load(v, 0, j) - v.splat(mean)
            return centred * centred

        variance = b.fadd(_mean(k, count, square), ir.Constant(k.real, EPSILON))
        scale = b.fdiv(ir.Constant(k.real, 1.0), _root(k, variance))

        def write(v: Lanes, j: Any) -> None:
            normal = (x.load(v, 0, j) - v.splat(mean)) * v.splat(scale)
            hat.store(normal, 0, j)
            out.store(v.fma(gain.load(v, 0, j), normal, add.load(v, 0, j)), 0, j)

        neighbours(k, count, write)
        one = _single(k)
        spread.store(one.splat(scale), 0, I64(0))


class PullNorm(NamedTuple):
    """Errors g of `Normalise.out` become errors `out` of its x, row by row of [rows, columns]; out may be g itself.

    Attributes:
        g, ldg, out, ldout, hat, ldhat, spread, ldspread: addresses, and entries from one row to the next.
        gain: one row. dgain, dbias: one row each; sums over the rows are added to them.
    """

    g: int
    ldg: int
    out: int
    ldout: int
    gain: int
    hat: int
    ldhat: int
    spread: int
    ldspread: int
    dgain: int
    dbias: int
    rows: int
    columns: int


@intrinsic
def pull_norm(typingctx, zero, operands):
    """See `PullNorm`."""
    require(PullNorm, operands)
    return types.void(zero, operands), out_of_line("pull_norm", PullNorm, _write_pull_norm)


def _write_pull_norm(k: Lanes, args: PullNorm) -> None:
    b, count = k.builder, args.columns
    gain, dgain, dbias = (_row(k, address, I64(0), I64(0)) for address in (args.gain, args.dgain, args.dbias))
    with cgutils.for_range(b, args.rows) as loop:
        g, out, hat, spread = (
            _row(k, address, stride, loop.index)
            for address, stride in (
                (args.g, args.ldg),
                (args.out, args.ldout),
                (args.hat, args.ldhat),
                (args.spread, args.ldspread),
            )
        )

        def error(v: Lanes, j: Any) -> Vec:
            return gain.load(v, 0, j) * g.load(v, 0, j)

        mean = _mean(k, count, error)
        along = _mean(k, count, lambda v, j: error(v, j) * hat.load(v, 0, j))
        scale = spread.load(_single(k), 0, I64(0))
        scale = b.extract_element(scale.value, ir.IntType(32)(0))

        def write(v: Lanes, j: Any) -> None:
            own, normal = g.load(v, 0, j), hat.load(v, 0, j)
            dgain.store(v.fma(own, normal, dgain.load(v, 0, j)), 0, j)
            dbias.store(dbias.load(v, 0, j) + own, 0, j)
            left = error(v, j) - v.splat(mean) - normal * v.splat(along)
            out.store(v.splat(scale) * left, 0, j)

        neighbours(k, count, write)


def _row(k: Lanes, address: Any, stride: Any, index: Any) -> Sample:
    b = k.builder
    return Sample(k, b.add(address, b.mul(b.mul(index, stride), I64(k.bits // 8))), I64(0))


def _single(k: Lanes) -> Lanes:
    """Vectors of one number."""
    return Lanes(k.builder, k.real, k.bits // 8)


def _mean(k: Lanes, count: Any, term: Callable[[Lanes, Any], Vec]) -> Any:
    """Mean of `term` over `count` columns, one number."""
    b = k.builder
    wide, one = Lanes(b, k.real, VECTOR_BYTES), _single(k)
    total, rest = cgutils.alloca_once(b, wide.type), cgutils.alloca_once(b, k.real)
    b.store(wide.constant(0.0).value, total)
    full = b.udiv(count, I64(wide.width))
    with cgutils.for_range(b, full) as loop:
        part = term(wide, b.mul(loop.index, I64(wide.width)))
        b.store((Vec(wide, b.load(total)) + part).value, total)
    lanes = b.load(total)
    # Lane after lane, not a tree: the order is written down here, so that no compiler may choose another.
    whole = b.extract_element(lanes, ir.IntType(32)(0))
    for lane in range(1, wide.width):
        whole = b.fadd(whole, b.extract_element(lanes, ir.IntType(32)(lane)))
    b.store(whole, rest)
    with cgutils.for_range_slice(b, b.mul(full, I64(wide.width)), count, I64(1), I64) as (column, _):
        part = b.extract_element(term(one, column).value, ir.IntType(32)(0))
        b.store(b.fadd(b.load(rest), part), rest)
    return b.fdiv(b.load(rest), b.sitofp(count, k.real))


def _root(k: Lanes, number: Any) -> Any:
    kind = ir.FunctionType(k.real, [k.real])
    return k.builder.call(cgutils.get_or_insert_function(k.builder.module, kind, f"llvm.sqrt.f{k.bits}"), [number])
