"""The steps of `recurrence.step_formulas` as numba intrinsics: a loop over samples and units for each, by a switch.

Blocks lie side by side without gaps, as in `gates`. A sample that has not begun keeps its state and its error.

Vectors of units are the outer loop and samples the inner one: what is the same for all samples, the cell's own
parameters and the sums of their gradients, stays in registers meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.gates import Sample
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import by_case, neighbours, out_of_line
from rnnsweep.core.recurrence.known_formulas import FORMULAS
from rnnsweep.core.recurrence.step_formulas import StepFormulas

SAMPLES_AT_ONCE = 16
"""Samples that one vector of units is followed through: their blocks stay in the L1 cache until the next one."""


class VectorOperations:
    """`step_formulas.Operations` of vectors."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes

    def tanh(self, x: Vec) -> Vec:
        """Hyperbolic tangent."""
        return formulas.tanh(self.lanes, x)

    def root(self, x: Vec) -> Vec:
        """Square root."""
        return self.lanes.root(x)

    def exp(self, x: Vec) -> Vec:
        """Exponential function."""
        return formulas.exp(self.lanes, x)

    def log1p(self, x: Vec) -> Vec:
        """log(1 + x) of 0 <= x <= 1."""
        return formulas.log1p(self.lanes, x)

    def zero(self, like: Vec) -> Vec:
        """0 in all lanes."""
        return like.lanes.constant(0.0)

    def where_positive(self, of: Vec, yes: Vec | float, no: Vec | float) -> Vec:
        """`yes` where `of` > 0, else `no`."""
        both = (x if isinstance(x, Vec) else self.lanes.constant(x) for x in (yes, no))
        return self.lanes.select(of > 0.0, *both)


class CellRead(NamedTuple):
    """What the cell's own matrix reads; 0 of samples that have not begun.

    Attributes:
        code, x, wide, before, own, t, begins: as in `CellStep`. out: [samples, plane].
    """

    code: int
    x: int
    wide: int
    before: int
    own: int
    out: int
    plane: int
    t: int
    begins: int
    samples: int
    U: int


@intrinsic
def cell_read(typingctx, zero, operands):
    """See `CellRead`."""
    require(CellRead, operands)
    return types.void(zero, operands), out_of_line("cell_read", CellRead, _write_reads)


def _write_reads(k: Lanes, args: CellRead) -> None:
    _every_formulas(k, args.code, lambda one: _write_read(k, args, one), staged=True)


def _write_read(k: Lanes, args: CellRead, one: StepFormulas) -> None:
    def begun(at: Place, x: Sample, old: Sample, out: Sample) -> None:
        entered, before = at.loaded(x, one.inputs), at.loaded(old, one.states)
        at.store(out, (one.read(VectorOperations(at.v), entered, before, at.own),))

    def idle(at: Place, x: Sample, old: Sample, out: Sample) -> None:
        del x, old
        at.store(out, (at.v.constant(0.0),))

    matrices = [(args.x, args.wide), (args.before, _times(k, args.U, one.states)), (args.out, args.plane)]
    _every_sample(k, args, one, Samples(matrices, begun, idle))


class CellStep(NamedTuple):
    """The states after a step, and what is kept of it.

    Attributes:
        code: index of the formulas in `FORMULAS`.
        x: pre-activations [samples, wide].
        q: what the cell's own matrix made, [samples, plane]; not read where there is none.
        before, after: states, kept: [samples, blocks * U] without gaps. own: the cell's own parameters [blocks, U].
        t, begins: the step, and int64 [samples], each one's first.
    """

    code: int
    x: int
    wide: int
    q: int
    plane: int
    before: int
    after: int
    kept: int
    own: int
    t: int
    begins: int
    samples: int
    U: int


@intrinsic
def cell_step(typingctx, zero, operands):
    """See `CellStep`."""
    require(CellStep, operands)
    return types.void(zero, operands), out_of_line("cell_step", CellStep, _write_steps)


def _write_steps(k: Lanes, args: CellStep) -> None:
    _every_formulas(k, args.code, lambda one: _write_step(k, args, one))


def _write_step(k: Lanes, args: CellStep, one: StepFormulas) -> None:
    sizes = (args.wide, args.plane, *(_times(k, args.U, count) for count in (one.states, one.states, one.kept)))

    def begun(at: Place, x: Sample, q: Sample, old: Sample, new: Sample, keep: Sample) -> None:
        entered = at.loaded(x, one.inputs) + at.loaded(q, 1 if one.matrix else 0)
        found, kept = one.step(VectorOperations(at.v), entered, at.loaded(old, one.states), at.own)
        # What the next step writes comes meanwhile, line by line: all at once would hold up what is read here.
        for sample, values in ((new, found), (keep, kept)):
            at.store(sample, values)
            sample.fetch(at.v, len(values), at.j, k.builder.mul(args.samples, _times(k, args.U, len(values))))

    def idle(at: Place, x: Sample, q: Sample, old: Sample, new: Sample, keep: Sample) -> None:
        del x, q
        at.store(new, at.loaded(old, one.states))
        # Never read, but a record's sums must not meet what lay here before.
        at.store(keep, (at.v.constant(0.0),) * one.kept)

    addresses = (args.x, args.q, args.before, args.after, args.kept)
    _every_sample(k, args, one, Samples(list(zip(addresses, sizes, strict=True)), begun, idle))


class CellPull(NamedTuple):
    """From errors of the states after a step to those of x and of the states before it.

    Attributes:
        code, own, t, begins: as in `CellStep`. kept, before, after: [samples, blocks * U] without gaps.
        g: dC/ds_t, then dC/ds_{t-1} without the way through x, [samples, plane]. dx: [samples, blocks * U].
        dq, read: the error of what the cell's own matrix made, and what it read, once more, both [samples, around];
            not written where there is none.
        down: sums of the gradients of what is trained, [blocks, U]; these are added to.
    """

    code: int
    kept: int
    before: int
    after: int
    g: int
    plane: int
    dx: int
    dq: int
    read: int
    around: int
    own: int
    down: int
    t: int
    begins: int
    samples: int
    U: int


@intrinsic
def cell_pull(typingctx, zero, operands):
    """See `CellPull`."""
    require(CellPull, operands)
    return types.void(zero, operands), out_of_line("cell_pull", CellPull, _write_pulls)


def _write_pulls(k: Lanes, args: CellPull) -> None:
    _every_formulas(k, args.code, lambda one: _write_pull(k, args, one))


def _write_pull(k: Lanes, args: CellPull, one: StepFormulas) -> None:
    kept, states, inputs = (_times(k, args.U, count) for count in (one.kept, one.states, one.inputs))

    def begun(at: Place, *samples: Sample) -> None:
        keep, old, new, up, out, q, read = samples
        o, errors = VectorOperations(at.v), at.loaded(up, one.states)
        again, before = at.loaded(keep, one.kept) + at.loaded(new, one.seen), at.loaded(old, one.states)
        dx, ds, parts = one.pull(o, again, before, at.own, errors)
        at.store(out, dx[: one.inputs])
        if one.matrix:
            at.store(q, dx[-1:])
            at.store(read, (one.read_again(o, again, before, at.own),))
        at.store(up, ds)
        # The state after is what the step behind had before: it is in the cache.
        keep.fetch_back(at.v, one.kept, at.j, k.builder.mul(args.samples, _times(k, args.U, one.kept)))
        old.fetch_back(at.v, one.states, at.j, k.builder.mul(args.samples, _times(k, args.U, one.states)))
        at.add(parts)

    def idle(at: Place, *samples: Sample) -> None:
        out, q, read = samples[4:]
        zero = at.v.constant(0.0)
        at.store(out, (zero,) * one.inputs)
        if one.matrix:
            at.store(q, (zero,))
            at.store(read, (zero,))

    records = [(args.kept, kept), (args.before, states), (args.after, states)]
    matrices = [*records, (args.g, args.plane), (args.dx, inputs), (args.dq, args.around), (args.read, args.around)]
    _every_sample(k, args, one, Samples(matrices, begun, idle, args.down))


class CellPullRead(NamedTuple):
    """Add what the error of `CellRead.out` is for x and for the states before a step.

    Attributes:
        code, kept, before, g, plane, dx, own, t, begins: as in `CellPull`. dread: [samples, around].
    """

    code: int
    kept: int
    before: int
    g: int
    plane: int
    dx: int
    dread: int
    around: int
    own: int
    t: int
    begins: int
    samples: int
    U: int


@intrinsic
def cell_pull_read(typingctx, zero, operands):
    """See `CellPullRead`."""
    require(CellPullRead, operands)
    return types.void(zero, operands), out_of_line("cell_pull_read", CellPullRead, _write_pulls_of_reads)


def _write_pulls_of_reads(k: Lanes, args: CellPullRead) -> None:
    _every_formulas(k, args.code, lambda one: _write_pull_of_read(k, args, one), staged=True)


def _write_pull_of_read(k: Lanes, args: CellPullRead, one: StepFormulas) -> None:
    kept, states, inputs = (_times(k, args.U, count) for count in (one.kept, one.states, one.inputs))

    def begun(at: Place, keep: Sample, old: Sample, up: Sample, out: Sample, error: Sample) -> None:
        again, before, (above,) = at.loaded(keep, one.kept), at.loaded(old, one.states), at.loaded(error, 1)
        dx, ds = one.pull_read(VectorOperations(at.v), again, before, at.own, above)
        for sample, parts in ((out, dx), (up, ds)):
            at.store(sample, tuple(was + part for was, part in zip(at.loaded(sample, len(parts)), parts, strict=True)))

    matrices = [(args.kept, kept), (args.before, states), (args.g, args.plane), (args.dx, inputs)]
    _every_sample(k, args, one, Samples([*matrices, (args.dread, args.around)], begun, lambda *_: None))


class Place:
    """Entries j and on of the blocks of some samples.

    Attributes:
        v: as many lanes as entries. j: the first.
        own: the cell's own parameters there.
        sums: of the gradients of what is trained, in memory of the loop's own.
    """

    def __init__(self, v: Lanes, j: Any, own: dict[str, Vec], sums: list[Any]) -> None:
        self.v, self.j, self.own, self.sums = v, j, own, sums

    def loaded(self, sample: Sample, blocks: int) -> tuple[Vec, ...]:
        """The leading blocks of a sample."""
        return tuple(sample.load(self.v, n, self.j) for n in range(blocks))

    def store(self, sample: Sample, blocks: tuple[Vec, ...]) -> None:
        """Write the leading blocks of a sample."""
        for n, value in enumerate(blocks):
            sample.store(value, n, self.j)

    def add(self, parts: tuple[Vec, ...]) -> None:
        """Add to the sums. Samples come in their order: that does not depend on how they are cut into packs."""
        b = self.v.builder
        for place, part in zip(self.sums, parts, strict=True):
            b.store((Vec(self.v, b.load(place)) + part).value, place)


def _every_formulas(k: Lanes, code: Any, write: Callable[[StepFormulas], None], *, staged: bool = False) -> None:
    """A case for each of the formulas, or (`staged`) for those with a matrix of their own."""
    cases = {n: lambda one=one: write(one()) for n, one in enumerate(FORMULAS) if one.matrix or not staged}
    by_case(k.builder, code, cases)


class Samples(NamedTuple):
    """What is done to every sample.

    Attributes:
        matrices: addresses of rows of samples, and entries from one to the next.
        begun: `begun(place, *samples)` of those whose own step t is. idle: of the others.
        down: address of the sums of gradients, where there are any.
    """

    matrices: list[tuple[Any, Any]]
    begun: Callable[..., None]
    idle: Callable[..., None]
    down: Any = None


def _every_sample(
    k: Lanes, args: CellRead | CellStep | CellPull | CellPullRead, one: StepFormulas, every: Samples
) -> None:
    """See `Samples`."""
    b, own = k.builder, Sample(k, args.own, args.U)
    totals, trained = Sample(k, every.down, args.U), 0 if every.down is None else len(one.trained)
    with cgutils.for_range_slice(b, I64(0), args.samples, I64(SAMPLES_AT_ONCE), inc=True) as (first, _):
        end = b.add(first, I64(SAMPLES_AT_ONCE))
        end = b.select(b.icmp_signed("<", end, args.samples), end, args.samples)

        def units(v: Lanes, j: Any) -> None:
            # In registers once LLVM has seen that nobody else knows these addresses.
            memory = [cgutils.alloca_once(b, v.type) for _ in range(trained)]
            place = Place(v, j, {name: own.load(v, n, j) for n, name in enumerate(one.own)}, memory)
            for n, to in enumerate(memory):
                b.store(totals.load(v, n, j).value, to)
            with cgutils.for_range_slice(b, first, end, I64(1), inc=True) as (index, _):
                samples = [Sample(k, _row(k, address, stride, index), args.U) for address, stride in every.matrices]
                begins = b.load(b.gep(b.inttoptr(args.begins, I64.as_pointer()), [index]))
                with b.if_else(b.icmp_signed(">=", args.t, begins)) as (yes, no):
                    with yes:
                        every.begun(place, *samples)
                    with no:
                        every.idle(place, *samples)
            for n, to in enumerate(memory):
                totals.store(Vec(v, b.load(to)), n, j)

        neighbours(k, args.U, units)


def _row(k: Lanes, address: Any, stride: Any, index: Any) -> Any:
    return k.builder.add(address, k.builder.mul(k.builder.mul(index, stride), I64(k.bits // 8)))


def _times(k: Lanes, size: Any, count: int) -> Any:
    return k.builder.mul(size, I64(count))
