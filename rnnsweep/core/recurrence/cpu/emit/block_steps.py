"""Elementwise parts of blocks around a diagonal recurrence as numba intrinsics: what stands beside the products.

Each loop takes rows of samples, one address and one stride (entries from one sample to the next) per matrix; the
formulas are those of `recurrence.block_formulas`. An H that is no multiple of a vector ends in smaller ones, all of
which do the same in every lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.core import cgutils, types

from rnnsweep.core.recurrence import block_formulas as blocks
from rnnsweep.core.recurrence.cpu.emit.cell_steps import VectorOperations
from rnnsweep.core.recurrence.cpu.emit.gates import Sample, every
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import by_case, neighbours, out_of_line

NO_GATE, FROM_SUMS, FROM_SHARES = 0, 1, 2
"""`Gate.mode`: no gate; w is what goes into the sigmoid, and becomes its value; w is the value."""


class Turn(NamedTuple):
    """x = lambda x_before + into, one step of samples that have begun; others keep their x.

    Attributes:
        before, after: [samples, state]: Re x, then Im x, N each. into: [samples, ldinto].
        lam_re, lam_im: [N]. t, begins: the step, and int64 [samples], each one's first.
    """

    before: int
    after: int
    state: int
    into: int
    ldinto: int
    lam_re: int
    lam_im: int
    t: int
    begins: int
    samples: int
    N: int


@intrinsic
def turn(typingctx, zero, operands):
    """See `Turn`."""
    require(Turn, operands)
    return types.void(zero, operands), out_of_line("block_turn", Turn, _write_turn)


def _write_turn(k: Lanes, args: Turn) -> None:
    lam_re, lam_im = (Sample(k, address, I64(0)) for address in (args.lam_re, args.lam_im))

    def begun(old: Sample, new: Sample, into: Sample) -> None:
        def body(v: Lanes, j: Any) -> None:
            lam = lam_re.load(v, 0, j), lam_im.load(v, 0, j)
            for part, value in enumerate(blocks.rotated(*lam, old.load(v, 0, j), old.load(v, 1, j))):
                new.store(value + into.load(v, part, j), part, j)

        neighbours(k, args.N, body)

    def idle(old: Sample, new: Sample, into: Sample) -> None:
        del into

        def body(v: Lanes, j: Any) -> None:
            for part in (0, 1):
                new.store(old.load(v, part, j), part, j)

        neighbours(k, args.N, body)

    matrices = [(args.before, args.state), (args.after, args.state), (args.into, args.ldinto)]
    _by_start(k, args, matrices, begun, idle)


class TurnBack(NamedTuple):
    """The way back of `Turn`: `later` is what the step after hands back, then what this one does.

    Attributes:
        later: [samples, ldlater]. g: direct errors of x, then all that x gets, 0 of samples that have not begun,
            [samples, ldg]. before: [samples, state]. lam_re, lam_im: [N]; dlam_re, dlam_im: sums, which are added to.
        t, begins: as in `Turn`.
    """

    later: int
    ldlater: int
    g: int
    ldg: int
    before: int
    state: int
    lam_re: int
    lam_im: int
    dlam_re: int
    dlam_im: int
    t: int
    begins: int
    samples: int
    N: int


@intrinsic
def turn_back(typingctx, zero, operands):
    """See `TurnBack`."""
    require(TurnBack, operands)
    return types.void(zero, operands), out_of_line("block_turn_back", TurnBack, _write_turn_back)


def _write_turn_back(k: Lanes, args: TurnBack) -> None:
    lam_re, lam_im, *sums = (
        Sample(k, address, I64(0)) for address in (args.lam_re, args.lam_im, args.dlam_re, args.dlam_im)
    )

    def begun(later: Sample, error: Sample, old: Sample) -> None:
        def body(v: Lanes, j: Any) -> None:
            re, im = (later.load(v, part, j) + error.load(v, part, j) for part in (0, 1))
            down = blocks.turned_by(old.load(v, 0, j), old.load(v, 1, j), re, im)
            handed = blocks.rotated(lam_re.load(v, 0, j), -lam_im.load(v, 0, j), re, im)
            for part, value in enumerate((re, im)):
                error.store(value, part, j)
                later.store(handed[part], part, j)
                # Samples come in their order: a sum's order does not depend on packs or threads.
                sums[part].store(sums[part].load(v, 0, j) + down[part], 0, j)

        neighbours(k, args.N, body)

    def idle(later: Sample, error: Sample, old: Sample) -> None:
        del later, old

        def body(v: Lanes, j: Any) -> None:
            for part in (0, 1):
                error.store(v.constant(0.0), part, j)

        neighbours(k, args.N, body)

    matrices = [(args.later, args.ldlater), (args.g, args.ldg), (args.before, args.state)]
    _by_start(k, args, matrices, begun, idle)


class Gelu(NamedTuple):
    """y <- y + d z and v = gelu(y), all [rows, H]; d: [H]."""

    y: int
    ldy: int
    z: int
    ldz: int
    d: int
    v: int
    ldv: int
    rows: int
    H: int


@intrinsic
def gelu(typingctx, zero, operands):
    """See `Gelu`."""
    require(Gelu, operands)
    return types.void(zero, operands), out_of_line("block_gelu", Gelu, _write_gelu)


def _write_gelu(k: Lanes, args: Gelu) -> None:
    def body(v: Lanes, j: Any, y: Sample, z: Sample, out: Sample, d: Sample) -> None:
        whole = y.load(v, 0, j) + d.load(v, 0, j) * z.load(v, 0, j)
        y.store(whole, 0, j)
        out.store(blocks.gelu(VectorOperations(v), whole), 0, j)

    every(k, (args.rows, args.H), [(args.y, args.ldy), (args.z, args.ldz), (args.v, args.ldv), (args.d, I64(0))], body)


class GeluAgain(NamedTuple):
    """v = gelu(y) and slope = gelu'(y), all [rows, H]; v and slope have one stride."""

    y: int
    ldy: int
    v: int
    slope: int
    ldv: int
    rows: int
    H: int


@intrinsic
def gelu_again(typingctx, zero, operands):
    """See `GeluAgain`."""
    require(GeluAgain, operands)
    return types.void(zero, operands), out_of_line("block_gelu_again", GeluAgain, _write_gelu_again)


def _write_gelu_again(k: Lanes, args: GeluAgain) -> None:
    def body(v: Lanes, j: Any, y: Sample, out: Sample, slope: Sample) -> None:
        value, rise = blocks.gelu_and_slope(VectorOperations(v), y.load(v, 0, j))
        out.store(value, 0, j)
        slope.store(rise, 0, j)

    every(k, (args.rows, args.H), [(args.y, args.ldy), (args.v, args.ldv), (args.slope, args.ldv)], body)


class GeluPull(NamedTuple):
    """From errors g of v to those of y, g <- g slope, and of z, dz = d g; dd += g z; all [rows, H] but d, dd: [H].

    g, slope, dz have one stride.
    """

    g: int
    slope: int
    dz: int
    ldg: int
    z: int
    ldz: int
    d: int
    dd: int
    rows: int
    H: int


@intrinsic
def gelu_pull(typingctx, zero, operands):
    """See `GeluPull`."""
    require(GeluPull, operands)
    return types.void(zero, operands), out_of_line("block_gelu_pull", GeluPull, _write_gelu_pull)


def _write_gelu_pull(k: Lanes, args: GeluPull) -> None:
    def body(v: Lanes, j: Any, g: Sample, slope: Sample, *of: Sample) -> None:
        dz, z, d, dd = of
        error = g.load(v, 0, j) * slope.load(v, 0, j)
        g.store(error, 0, j)
        dz.store(d.load(v, 0, j) * error, 0, j)
        dd.store(dd.load(v, 0, j) + error * z.load(v, 0, j), 0, j)

    alike = [(address, args.ldg) for address in (args.g, args.slope, args.dz)]
    every(k, (args.rows, args.H), [*alike, (args.z, args.ldz), (args.d, I64(0)), (args.dd, I64(0))], body)


class Gate(NamedTuple):
    """out = u + part sigmoid(w), or u + part (`mode`), all [rows, H]; `part` and `w` may be two halves of one."""

    mode: int
    u: int
    ldu: int
    part: int
    ldpart: int
    w: int
    ldw: int
    out: int
    ldout: int
    rows: int
    H: int


@intrinsic
def gate(typingctx, zero, operands):
    """See `Gate`."""
    require(Gate, operands)
    return types.void(zero, operands), out_of_line("block_gate", Gate, _write_gates)


def _write_gates(k: Lanes, args: Gate) -> None:
    cases = {mode: (lambda mode=mode: _write_gate(k, args, mode)) for mode in (NO_GATE, FROM_SUMS, FROM_SHARES)}
    by_case(k.builder, args.mode, cases)


def _write_gate(k: Lanes, args: Gate, mode: int) -> None:
    def body(v: Lanes, j: Any, u: Sample, part: Sample, w: Sample, out: Sample) -> None:
        value = part.load(v, 0, j)
        if mode == FROM_SUMS:
            share = blocks.sigmoid(VectorOperations(v), w.load(v, 0, j))
            w.store(share, 0, j)
            value = value * share
        elif mode == FROM_SHARES:
            value = value * w.load(v, 0, j)
        out.store(u.load(v, 0, j) + value, 0, j)

    matrices = [(args.u, args.ldu), (args.part, args.ldpart), (args.w, args.ldw), (args.out, args.ldout)]
    every(k, (args.rows, args.H), matrices, body)


class GatePull(NamedTuple):
    """From errors g of part sigmoid(w) to those of `part` and of w, all [rows, H]; `share` is sigmoid(w)."""

    g: int
    ldg: int
    part: int
    ldpart: int
    share: int
    ldshare: int
    dpart: int
    lddpart: int
    dw: int
    lddw: int
    rows: int
    H: int


@intrinsic
def gate_pull(typingctx, zero, operands):
    """See `GatePull`."""
    require(GatePull, operands)
    return types.void(zero, operands), out_of_line("block_gate_pull", GatePull, _write_gate_pull)


def _write_gate_pull(k: Lanes, args: GatePull) -> None:
    def body(v: Lanes, j: Any, g: Sample, part: Sample, share: Sample, *errors: Sample) -> None:
        found = blocks.gate_pull(part.load(v, 0, j), share.load(v, 0, j), g.load(v, 0, j))
        for out, value in zip(errors, found, strict=True):
            out.store(value, 0, j)

    read = [(args.g, args.ldg), (args.part, args.ldpart), (args.share, args.ldshare)]
    every(k, (args.rows, args.H), [*read, (args.dpart, args.lddpart), (args.dw, args.lddw)], body)


class Plus(NamedTuple):
    """out += x, both [rows, H]."""

    out: int
    ldout: int
    x: int
    ldx: int
    rows: int
    H: int


@intrinsic
def plus(typingctx, zero, operands):
    """See `Plus`."""
    require(Plus, operands)
    return types.void(zero, operands), out_of_line("block_plus", Plus, _write_plus)


def _write_plus(k: Lanes, args: Plus) -> None:
    def body(v: Lanes, j: Any, out: Sample, x: Sample) -> None:
        out.store(out.load(v, 0, j) + x.load(v, 0, j), 0, j)

    every(k, (args.rows, args.H), [(args.out, args.ldout), (args.x, args.ldx)], body)


def row_at(k: Lanes, address: Any, stride: Any, index: Any, block: Any = None) -> Sample:
    """Row `index` of a matrix, of blocks where there are such."""
    at = k.builder.mul(k.builder.mul(index, stride), I64(k.bits // 8))
    return Sample(k, k.builder.add(address, at), I64(0) if block is None else block)


def _by_start(
    k: Lanes,
    args: Any,
    matrices: list[tuple[Any, Any]],
    begun: Callable[..., None],
    idle: Callable[..., None],
) -> None:
    """One of the two for every sample, by whether it has begun; its matrices have blocks of N."""
    b = k.builder
    with cgutils.for_range(b, args.samples) as loop:
        samples = [row_at(k, address, stride, loop.index, args.N) for address, stride in matrices]
        place = b.inttoptr(b.add(args.begins, b.mul(loop.index, I64(8))), I64.as_pointer())
        with b.if_else(b.icmp_signed(">=", args.t, b.load(place))) as (yes, no):
            with yes:
                begun(*samples)
            with no:
                idle(*samples)
