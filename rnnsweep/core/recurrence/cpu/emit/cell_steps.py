"""The steps of `recurrence.step_formulas` as numba intrinsics: a loop over samples and units for each, by a switch.

Blocks lie side by side without gaps, as in `gates`. A sample that has not begun keeps its state and its error.
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
    own = Sample(k, args.own, args.U)

    def begun(x: Sample, old: Sample, out: Sample) -> None:
        def body(v: Lanes, j: Any) -> None:
            entered, before = _loaded(v, x, one.inputs, j), _loaded(v, old, one.states, j)
            out.store(one.read(VectorOperations(v), entered, before, _own(v, own, one, j)), 0, j)

        neighbours(k, args.U, body)

    def idle(x: Sample, old: Sample, out: Sample) -> None:
        del x, old
        neighbours(k, args.U, lambda v, j: out.store(v.constant(0.0), 0, j))

    matrices = [(args.x, args.wide), (args.before, _times(k, args.U, one.states)), (args.out, args.plane)]
    _every_sample(k, args, matrices, begun, idle)


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
    own = Sample(k, args.own, args.U)

    def begun(x: Sample, q: Sample, old: Sample, new: Sample, keep: Sample) -> None:
        def body(v: Lanes, j: Any) -> None:
            entered = _loaded(v, x, one.inputs, j) + _loaded(v, q, 1 if one.matrix else 0, j)
            found, kept = one.step(VectorOperations(v), entered, _loaded(v, old, one.states, j), _own(v, own, one, j))
            # What the next step writes comes meanwhile, line by line: all at once would hold up what is read here.
            for sample, values in ((new, found), (keep, kept)):
                _store(sample, values, j)
                sample.fetch(v, len(values), j, k.builder.mul(args.samples, _times(k, args.U, len(values))))

        neighbours(k, args.U, body)

    def idle(x: Sample, q: Sample, old: Sample, new: Sample, keep: Sample) -> None:
        del x, q

        def body(v: Lanes, j: Any) -> None:
            _store(new, _loaded(v, old, one.states, j), j)
            # Never read, but a record's sums must not meet what lay here before.
            _store(keep, (v.constant(0.0),) * one.kept, j)

        neighbours(k, args.U, body)

    addresses = (args.x, args.q, args.before, args.after, args.kept)
    _every_sample(k, args, list(zip(addresses, sizes, strict=True)), begun, idle)


class CellPull(NamedTuple):
    """From errors of the states after a step to those of x and of the states before it.

    Attributes:
        code, own, t, begins: as in `CellStep`. kept, before: [samples, blocks * U] without gaps.
        g: dC/ds_t, then dC/ds_{t-1} without the way through x, [samples, plane]. dx: [samples, blocks * U].
        dq, read: the error of what the cell's own matrix made, and what it read, once more, both [samples, around];
            not written where there is none.
        down: sums of the gradients of what is trained, [blocks, U]; these are added to.
    """

    code: int
    kept: int
    before: int
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
    own, down = Sample(k, args.own, args.U), Sample(k, args.down, args.U)

    def begun(keep: Sample, old: Sample, up: Sample, out: Sample, q: Sample, read: Sample) -> None:
        def body(v: Lanes, j: Any) -> None:
            o, errors, kept = VectorOperations(v), _loaded(v, up, one.states, j), _loaded(v, keep, one.kept, j)
            before, mine = _loaded(v, old, one.states, j), _own(v, own, one, j)
            dx, ds, parts = one.pull(o, kept, before, mine, errors)
            _store(out, dx[: one.inputs], j)
            if one.matrix:
                q.store(dx[-1], 0, j)
                read.store(one.read_again(o, kept, before, mine), 0, j)
            _store(up, ds, j)
            keep.fetch_back(v, one.kept, j, k.builder.mul(args.samples, _times(k, args.U, one.kept)))
            old.fetch_back(v, one.states, j, k.builder.mul(args.samples, _times(k, args.U, one.states)))
            # Samples come in their order: a sum's order does not depend on how they are cut into packs or threads.
            _store(down, tuple(down.load(v, n, j) + part for n, part in enumerate(parts)), j)

        neighbours(k, args.U, body)

    def idle(keep: Sample, old: Sample, up: Sample, out: Sample, q: Sample, read: Sample) -> None:
        del keep, old, up

        def body(v: Lanes, j: Any) -> None:
            zero = v.constant(0.0)
            _store(out, (zero,) * one.inputs, j)
            if one.matrix:
                q.store(zero, 0, j)
                read.store(zero, 0, j)

        neighbours(k, args.U, body)

    matrices = [(args.kept, kept), (args.before, states), (args.g, args.plane), (args.dx, inputs)]
    _every_sample(k, args, [*matrices, (args.dq, args.around), (args.read, args.around)], begun, idle)


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
    own = Sample(k, args.own, args.U)

    def begun(keep: Sample, old: Sample, up: Sample, out: Sample, error: Sample) -> None:
        def body(v: Lanes, j: Any) -> None:
            again, before = _loaded(v, keep, one.kept, j), _loaded(v, old, one.states, j)
            dx, ds = one.pull_read(VectorOperations(v), again, before, _own(v, own, one, j), error.load(v, 0, j))
            _store(out, tuple(out.load(v, n, j) + part for n, part in enumerate(dx)), j)
            _store(up, tuple(up.load(v, n, j) + part for n, part in enumerate(ds)), j)

        neighbours(k, args.U, body)

    matrices = [(args.kept, kept), (args.before, states), (args.g, args.plane), (args.dx, inputs)]
    _every_sample(k, args, [*matrices, (args.dread, args.around)], begun, lambda *_: None)


def _every_formulas(k: Lanes, code: Any, write: Callable[[StepFormulas], None], *, staged: bool = False) -> None:
    """A case for each of the formulas, or (`staged`) for those with a matrix of their own."""
    cases = {n: lambda one=one: write(one()) for n, one in enumerate(FORMULAS) if one.matrix or not staged}
    by_case(k.builder, code, cases)


def _every_sample(
    k: Lanes,
    args: CellRead | CellStep | CellPull | CellPullRead,
    matrices: list[tuple[Any, Any]],
    begun: Callable[..., None],
    idle: Callable[..., None],
) -> None:
    """`begun(*samples)` of each sample whose own step t is, `idle(*samples)` of the others."""
    b = k.builder
    with cgutils.for_range(b, args.samples) as loop:
        samples = [Sample(k, _row(k, address, stride, loop.index), args.U) for address, stride in matrices]
        begins = b.load(b.gep(b.inttoptr(args.begins, I64.as_pointer()), [loop.index]))
        with b.if_else(b.icmp_signed(">=", args.t, begins)) as (yes, no):
            with yes:
                begun(*samples)
            with no:
                idle(*samples)


def _row(k: Lanes, address: Any, stride: Any, index: Any) -> Any:
    return k.builder.add(address, k.builder.mul(k.builder.mul(index, stride), I64(k.bits // 8)))


def _times(k: Lanes, size: Any, count: int) -> Any:
    return k.builder.mul(size, I64(count))


def _loaded(v: Lanes, sample: Sample, blocks: int, j: Any) -> tuple[Vec, ...]:
    return tuple(sample.load(v, n, j) for n in range(blocks))


def _own(v: Lanes, own: Sample, one: StepFormulas, j: Any) -> dict[str, Vec]:
    return {name: own.load(v, n, j) for n, name in enumerate(one.own)}


def _store(sample: Sample, blocks: tuple[Vec, ...], j: Any) -> None:
    for n, value in enumerate(blocks):
        sample.store(value, n, j)
