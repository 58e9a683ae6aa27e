"""Elementwise parts of filters over time as numba intrinsics: one step forward, one step back.

Numbers of a sequence (decay, beta) and of a row (scale) come by address, with the entries from one sample to the next:
0 where all samples have the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.gates import Sample, every
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import out_of_line

EPSILON = 1e-16
"""`recurrence.filtering.EPSILON`, here once more: what compiled code is made of lies in this package."""


class FilterStep(NamedTuple):
    """v <- decay v + scale z and drive = v + after; adaptive: m <- beta m + (1 - beta) z^2, v / sqrt(m + EPSILON).

    Attributes:
        z, v, m: [samples, plane]. drive: [samples, G]. after: [G].
        kept: of the adaptive kind [samples, 2 G]: v / sqrt(m + EPSILON), 1 / sqrt(m + EPSILON); else 0.
        decay, beta: numbers, each at a distance of `apart`. scale: a number.
    """

    z: int
    v: int
    m: int
    plane: int
    drive: int
    after: int
    kept: int
    decay: int
    beta: int
    apart: int
    scale: int
    samples: int
    G: int


@intrinsic
def filter_step(typingctx, zero, operands):
    """See `FilterStep`."""
    require(FilterStep, operands)
    return types.void(zero, operands), out_of_line("filter_step", FilterStep, _write_step)


def _write_step(k: Lanes, args: FilterStep) -> None:
    b, none = k.builder, I64(0)
    adaptive = b.icmp_signed("!=", args.kept, none)
    common = [
        (args.z, args.plane), (args.v, args.plane), (args.drive, args.G), (args.after, none),
        (args.decay, args.apart), (args.scale, none),
    ]  # fmt: skip

    def momentum(v: Lanes, j: Any, z: Sample, state: Sample, decay: Sample, scale: Sample) -> Vec:
        new = v.fma(decay.number(v), state.load(v, 0, j), scale.number(v) * z.load(v, 0, j))
        state.store(new, 0, j)
        return new

    def plain(v: Lanes, j: Any, *of: Sample) -> None:
        z, state, drive, after, decay, scale = of
        drive.store(momentum(v, j, z, state, decay, scale) + after.load(v, 0, j), 0, j)
        drive.fetch(v, 1, j, b.mul(args.samples, args.G))

    def divided(v: Lanes, j: Any, *of: Sample) -> None:
        z, state, drive, after, decay, scale, square, kept, beta = of
        share, x = beta.number(v), z.load(v, 0, j)
        m = v.fma(share, square.load(v, 0, j), (1.0 - share) * x * x)
        square.store(m, 0, j)
        inverse = v.constant(1.0) / _root(v, m + EPSILON)
        shown = momentum(v, j, z, state, decay, scale) * inverse
        for block, value in enumerate((shown, inverse)):
            kept.store(value, block, j)
        drive.store(shown + after.load(v, 0, j), 0, j)
        # What the next step writes comes meanwhile, as in `gates`.
        drive.fetch(v, 1, j, b.mul(args.samples, args.G))
        kept.fetch(v, 2, j, b.mul(args.samples, b.mul(args.G, I64(2))))

    with b.if_else(adaptive) as (yes, no):
        with yes:
            more = [(args.m, args.plane), (args.kept, b.mul(args.G, I64(2))), (args.beta, args.apart)]
            every(k, (args.samples, args.G), [*common, *more], divided)
        with no:
            every(k, (args.samples, args.G), common, plain)


class FilterPull(NamedTuple):
    """The transpose of `FilterStep`: y_t = decay_{t+1} y_{t+1} + g_t, dz_t = scale y_t; adaptive likewise for m.

    Attributes:
        g: [samples, ldg]. dz, v, m, z: [samples, plane]: the result; y of v and of m; z of the adaptive kind.
        after: [G], to which g is added, sample by sample. kept: see `FilterStep`.
        decay, later: numbers of step t + 1, of v and of m. beta: of step t. Each at a distance of `apart`.
        scale: a number.
    """

    g: int
    ldg: int
    dz: int
    v: int
    m: int
    z: int
    plane: int
    after: int
    kept: int
    decay: int
    later: int
    beta: int
    apart: int
    scale: int
    samples: int
    G: int


@intrinsic
def filter_pull(typingctx, zero, operands):
    """See `FilterPull`."""
    require(FilterPull, operands)
    return types.void(zero, operands), out_of_line("filter_pull", FilterPull, _write_pull)


def _write_pull(k: Lanes, args: FilterPull) -> None:
    b, none = k.builder, I64(0)
    adaptive = b.icmp_signed("!=", args.kept, none)
    common = [
        (args.g, args.ldg), (args.dz, args.plane), (args.v, args.plane), (args.after, none),
        (args.decay, args.apart), (args.scale, none),
    ]  # fmt: skip

    def plain(v: Lanes, j: Any, *of: Sample) -> None:
        up, dz, state, after, decay, scale = of
        g = up.load(v, 0, j)
        after.store(after.load(v, 0, j) + g, 0, j)
        y = v.fma(decay.number(v), state.load(v, 0, j), g)
        state.store(y, 0, j)
        dz.store(scale.number(v) * y, 0, j)
        up.fetch_back(v, 1, j, b.mul(args.samples, args.ldg))

    def divided(v: Lanes, j: Any, *of: Sample) -> None:
        up, dz, state, after, decay, scale, square, z, kept, later, beta = of
        g = up.load(v, 0, j)
        after.store(after.load(v, 0, j) + g, 0, j)
        shown, inverse = kept.load(v, 0, j), kept.load(v, 1, j)
        dv = g * inverse
        y = v.fma(decay.number(v), state.load(v, 0, j), dv)
        # d(v below^-1/2)/dm = -v below^-3/2 / 2, in what was kept: shown inverse is v / below.
        dm = v.fma(later.number(v), square.load(v, 0, j), dv * shown * inverse * -0.5)
        state.store(y, 0, j)
        square.store(dm, 0, j)
        # z acts twice: through v, and through its square in m.
        dz.store(v.fma(scale.number(v), y, (1.0 - beta.number(v)) * z.load(v, 0, j) * dm * 2.0), 0, j)
        up.fetch_back(v, 1, j, b.mul(args.samples, args.ldg))
        kept.fetch_back(v, 2, j, b.mul(args.samples, b.mul(args.G, I64(2))))

    with b.if_else(adaptive) as (yes, no):
        with yes:
            more = [
                (args.m, args.plane), (args.z, args.plane), (args.kept, b.mul(args.G, I64(2))),
                (args.later, args.apart), (args.beta, args.apart),
            ]  # fmt: skip
            every(k, (args.samples, args.G), [*common, *more], divided)
        with no:
            every(k, (args.samples, args.G), common, plain)


def _root(v: Lanes, x: Vec) -> Vec:
    kind = ir.FunctionType(v.type, [v.type])
    function = cgutils.get_or_insert_function(v.builder.module, kind, f"llvm.sqrt.v{v.width}f{v.bits}")
    return Vec(v, v.builder.call(function, [x.value]))
