"""Masks of the loops as numba intrinsics: what a recurrent matrix reads, and units that keep their state.

Numerics:
    A factor of 1 and a zone of 0 change no bit, and where a zone is 1 the state is what it was, whatever the step made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core import types

from rnnsweep.core.recurrence.cpu.emit.gates import Sample, every
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line


class Masked(NamedTuple):
    """out = mask x, all [rows, columns], each with entries from one row to the next of its own."""

    out: int
    ldout: int
    x: int
    ldx: int
    mask: int
    ldmask: int
    rows: int
    columns: int


@intrinsic
def masked(typingctx, zero, operands):
    """See `Masked`."""
    require(Masked, operands)
    return types.void(zero, operands), out_of_line("masked", Masked, _write_masked)


def _write_masked(k: Lanes, args: Masked) -> None:
    def body(v: Lanes, j: Any, out: Sample, x: Sample, mask: Sample) -> None:
        out.store(mask.load(v, 0, j) * x.load(v, 0, j), 0, j)

    matrices = [(args.out, args.ldout), (args.x, args.ldx), (args.mask, args.ldmask)]
    every(k, (args.rows, args.columns), matrices, body)


class Zoned(NamedTuple):
    """state = zone before + (1 - zone) state, of so many `numbers` that lie without gaps."""

    state: int
    before: int
    zone: int
    numbers: int


@intrinsic
def zoned(typingctx, zero, operands):
    """See `Zoned`."""
    require(Zoned, operands)
    return types.void(zero, operands), out_of_line("zoned", Zoned, _write_zoned)


def _write_zoned(k: Lanes, args: Zoned) -> None:
    def body(v: Lanes, j: Any, state: Sample, before: Sample, zone: Sample) -> None:
        share, new, old = zone.load(v, 0, j), state.load(v, 0, j), before.load(v, 0, j)
        # Selected, not weighed: 0 * inf would be NaN.
        mixed = v.select(share <= 0.0, new, share * old + (1.0 - share) * new)
        state.store(v.select(1.0 - share <= 0.0, old, mixed), 0, j)

    every(k, (I64(1), args.numbers), [(args.state, I64(0)), (args.before, I64(0)), (args.zone, I64(0))], body)


class Unzoned(NamedTuple):
    """inner = (1 - zone) g and passed = zone g, all [rows, columns]; inner may be g itself."""

    g: int
    ldg: int
    inner: int
    ldinner: int
    passed: int
    ldpassed: int
    zone: int
    ldzone: int
    rows: int
    columns: int


@intrinsic
def unzoned(typingctx, zero, operands):
    """See `Unzoned`."""
    require(Unzoned, operands)
    return types.void(zero, operands), out_of_line("unzoned", Unzoned, _write_unzoned)


def _write_unzoned(k: Lanes, args: Unzoned) -> None:
    def body(v: Lanes, j: Any, g: Sample, inner: Sample, passed: Sample, zone: Sample) -> None:
        share, error = zone.load(v, 0, j), g.load(v, 0, j)
        passed.store(share * error, 0, j)
        inner.store((1.0 - share) * error, 0, j)

    errors = [(args.g, args.ldg), (args.inner, args.ldinner), (args.passed, args.ldpassed)]
    every(k, (args.rows, args.columns), [*errors, (args.zone, args.ldzone)], body)
