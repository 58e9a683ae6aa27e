"""Elementwise parts of gated cells as numba intrinsics: gates to states, and back.

Gates lie side by side without gaps; an H that is no multiple of a vector ends in half vectors, quarters, ..., single
numbers, all of which do the same operations in every lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require
from rnnsweep.core.recurrence.cpu.emit.vectors import neighbours, out_of_line


class Sample:
    """One sample's numbers in a matrix: entry j of block i, which begins at i * H."""

    def __init__(self, k: Lanes, address: Any, hidden: Any) -> None:
        self.k, self.address, self.hidden = k, address, hidden

    def load(self, v: Lanes, block: int, j: Any) -> Vec:
        """The vector that begins at entry j of a block."""
        return v.load(self.address, self._at(block, j))

    def store(self, value: Vec, block: int, j: Any) -> None:
        """Write a vector from entry j of a block on."""
        value.lanes.store(value, self.address, self._at(block, j))

    def fetch(self, v: Lanes, blocks: int, j: Any, step: Any) -> None:
        """Bring entry j of the first blocks of the next step, to be written; `step`: entries of one step."""
        for block in range(blocks):
            v.fetch(self.address, v.builder.add(self._at(block, j), step))

    def fetch_back(self, v: Lanes, blocks: int, j: Any, step: Any) -> None:
        """Bring entry j of the first blocks of the step before, to be read."""
        for block in range(blocks):
            v.fetch(self.address, v.builder.sub(self._at(block, j), step), write=0)

    def number(self, v: Lanes) -> Vec:
        """The sample's first number, in all lanes."""
        return v.splat(v.builder.load(v.pointer(self.address, I64(0))))

    def _at(self, block: int, j: Any) -> Any:
        return self.k.builder.add(self.k.builder.mul(self.hidden, I64(block)), j)


def every(k: Lanes, size: tuple[Any, Any], matrices: list[tuple[Any, Any]], body: Callable[..., None]) -> None:
    """`body(v, j, *samples)` for all units j of all samples, v numbers at once.

    size is (samples, H); matrices are (address, entries from one sample to the next).
    """
    b, (count, hidden) = k.builder, size
    with cgutils.for_range(b, count) as loop:
        at = [b.add(address, b.mul(b.mul(loop.index, stride), I64(k.bits // 8))) for address, stride in matrices]
        samples = [Sample(k, address, hidden) for address in at]
        neighbours(k, hidden, lambda v, j: body(v, j, *samples))


def _activated(v: Lanes, name: str, a: Vec) -> Vec:
    return formulas.value(v, name, a, a)


class LstmStep(NamedTuple):
    """[h, c] and kept = [i, f, g, o, tanh c] of one step.

    Attributes:
        gates, wide: pre-activations [samples, wide].
        before, after: states [samples, state]. kept: [samples, keep].
    """

    gates: int
    wide: int
    before: int
    after: int
    state: int
    kept: int
    keep: int
    samples: int
    H: int


@intrinsic
def lstm_step(typingctx, zero, operands):
    """See `LstmStep`."""
    require(LstmStep, operands)
    return types.void(zero, operands), out_of_line("lstm_step", LstmStep, _write_lstm_step)


def _write_lstm_step(k: Lanes, args: LstmStep) -> None:

    def body(v: Lanes, j: Any, pre: Sample, *states: Sample) -> None:
        old, new, keep = states
        i, f, o = (_activated(v, "sigmoid", pre.load(v, block, j)) for block in (0, 1, 3))
        g = formulas.tanh(v, pre.load(v, 2, j))
        # Written as one fused multiply-add, so that no compiler has a choice.
        c = v.fma(f, old.load(v, 1, j), i * g)
        bent = formulas.tanh(v, c)
        new.store(o * bent, 0, j)
        new.store(c, 1, j)
        for block, value in enumerate((i, f, g, o, bent)):
            keep.store(value, block, j)
        # What the next step writes comes meanwhile, line by line: all of it at once would hold up what is read here.
        new.fetch(v, 2, j, k.builder.mul(args.samples, args.state))
        keep.fetch(v, 5, j, k.builder.mul(args.samples, args.keep))

    states = [(args.before, args.state), (args.after, args.state)]
    matrices = [(args.gates, args.wide), *states, (args.kept, args.keep)]
    every(k, (args.samples, args.H), matrices, body)


class LstmPull(NamedTuple):
    """delta of [i, f, g, o], and gc <- dC/dc_{t-1}.

    Attributes:
        kept: [samples, keep]. before: states [samples, state].
        gh, gc: dC/dh_t and dC/dc_t, both [samples, plane]. delta: [samples, 4 H].
        shown: whether h is o tanh(c); 0: of something else made of c, whose error is in gc already.
    """

    kept: int
    keep: int
    before: int
    state: int
    gh: int
    gc: int
    plane: int
    delta: int
    shown: int
    samples: int
    H: int


@intrinsic
def lstm_pull(typingctx, zero, operands):
    """See `LstmPull`."""
    require(LstmPull, operands)
    return types.void(zero, operands), out_of_line("lstm_pull", LstmPull, _write_lstm_pull)


def _write_lstm_pull(k: Lanes, args: LstmPull) -> None:
    four = k.builder.mul(args.H, I64(4))
    shown = k.builder.icmp_signed("!=", args.shown, I64(0))

    def body(v: Lanes, j: Any, keep: Sample, old: Sample, *gradients: Sample) -> None:
        up, cell, delta = gradients
        i, f, g, o, bent = (keep.load(v, block, j) for block in range(5))
        g_h = up.load(v, 0, j)
        # c gets what comes along the cell and what comes through h = o tanh(c).
        g_c = v.select(shown, v.fma(g_h * o, 1.0 - bent * bent, cell.load(v, 0, j)), cell.load(v, 0, j))
        delta.store(g_c * g * (i * (1.0 - i)), 0, j)
        delta.store(g_c * old.load(v, 1, j) * (f * (1.0 - f)), 1, j)
        delta.store(g_c * i * (1.0 - g * g), 2, j)
        delta.store(g_h * bent * (o * (1.0 - o)), 3, j)
        cell.store(g_c * f, 0, j)
        # Where drives want errors of all steps these are written far from here.
        delta.fetch(v, 4, j, k.builder.neg(k.builder.mul(args.samples, four)))
        keep.fetch_back(v, 5, j, k.builder.mul(args.samples, args.keep))
        old.fetch_back(v, 2, j, k.builder.mul(args.samples, args.state))

    gradients = [(args.gh, args.plane), (args.gc, args.plane), (args.delta, four)]
    every(k, (args.samples, args.H), [(args.kept, args.keep), (args.before, args.state), *gradients], body)


class LookAhead(NamedTuple):
    """v <- gates, and gates <- v + kappa (v - v_{t-1}).

    Attributes:
        gates: [samples, wide]. before, after: v in the states, [samples, state].
        kappa: numbers, each at a distance of `apart`.
        G: entries of v.
    """

    gates: int
    wide: int
    before: int
    after: int
    state: int
    kappa: int
    apart: int
    samples: int
    G: int


@intrinsic
def look_ahead(typingctx, zero, operands):
    """See `LookAhead`."""
    require(LookAhead, operands)
    return types.void(zero, operands), out_of_line("look_ahead", LookAhead, _write_look_ahead)


def _write_look_ahead(k: Lanes, args: LookAhead) -> None:
    def body(v: Lanes, j: Any, gates: Sample, old: Sample, new: Sample, kappa: Sample) -> None:
        now = gates.load(v, 0, j)
        gates.store(v.fma(kappa.number(v), now - old.load(v, 0, j), now), 0, j)
        new.store(now, 0, j)

    states = [(args.before, args.state), (args.after, args.state)]
    every(k, (args.samples, args.G), [(args.gates, args.wide), *states, (args.kappa, args.apart)], body)


class LookBack(NamedTuple):
    """delta of the gates becomes that of v: (1 + kappa) delta + gv, and gv <- -kappa delta, what v_{t-1} gets.

    Attributes:
        delta: [samples, G]. gv: [samples, plane]. kappa, apart, G: as in `LookAhead`.
    """

    delta: int
    gv: int
    plane: int
    kappa: int
    apart: int
    samples: int
    G: int


@intrinsic
def look_back(typingctx, zero, operands):
    """See `LookBack`."""
    require(LookBack, operands)
    return types.void(zero, operands), out_of_line("look_back", LookBack, _write_look_back)


def _write_look_back(k: Lanes, args: LookBack) -> None:
    def body(v: Lanes, j: Any, delta: Sample, later: Sample, kappa: Sample) -> None:
        gates, share = delta.load(v, 0, j), kappa.number(v)
        delta.store(v.fma(share + 1.0, gates, later.load(v, 0, j)), 0, j)
        later.store((0.0 - share) * gates, 0, j)

    matrices = [(args.delta, args.G), (args.gv, args.plane), (args.kappa, args.apart)]
    every(k, (args.samples, args.G), matrices, body)


class LstmShow(NamedTuple):
    """h = o tanh(c'), with tanh(c') in the place that kept has for tanh(c).

    Attributes:
        cell: c', [samples, plane]. kept: [samples, keep]. after: states [samples, 2 H].
    """

    cell: int
    plane: int
    kept: int
    keep: int
    after: int
    samples: int
    H: int


@intrinsic
def lstm_show(typingctx, zero, operands):
    """See `LstmShow`."""
    require(LstmShow, operands)
    return types.void(zero, operands), out_of_line("lstm_show", LstmShow, _write_lstm_show)


def _write_lstm_show(k: Lanes, args: LstmShow) -> None:
    def body(v: Lanes, j: Any, cell: Sample, keep: Sample, new: Sample) -> None:
        bent = formulas.tanh(v, cell.load(v, 0, j))
        keep.store(bent, 4, j)
        new.store(keep.load(v, 3, j) * bent, 0, j)

    matrices = [(args.cell, args.plane), (args.kept, args.keep), (args.after, k.builder.mul(args.H, I64(2)))]
    every(k, (args.samples, args.H), matrices, body)


class LstmHide(NamedTuple):
    """The error of c' in `LstmShow`: cell = gh o (1 - tanh(c')^2).

    Attributes:
        cell, gh: [samples, plane]. kept: [samples, keep].
    """

    cell: int
    gh: int
    plane: int
    kept: int
    keep: int
    samples: int
    H: int


@intrinsic
def lstm_hide(typingctx, zero, operands):
    """See `LstmHide`."""
    require(LstmHide, operands)
    return types.void(zero, operands), out_of_line("lstm_hide", LstmHide, _write_lstm_hide)


def _write_lstm_hide(k: Lanes, args: LstmHide) -> None:
    def body(v: Lanes, j: Any, cell: Sample, up: Sample, keep: Sample) -> None:
        bent = keep.load(v, 4, j)
        cell.store(up.load(v, 0, j) * keep.load(v, 3, j) * (1.0 - bent * bent), 0, j)

    every(k, (args.samples, args.H), [(args.cell, args.plane), (args.gh, args.plane), (args.kept, args.keep)], body)


class GruStep(NamedTuple):
    """h and kept = [r, z, n, h U_n + b_n] of one step.

    Attributes:
        gates, inner, drive: [samples, wide] each: pre-activations of r and z; h U_n + b_n; the candidate's drive.
        before, after: states [samples, H]. kept: [samples, keep].
    """

    gates: int
    inner: int
    drive: int
    wide: int
    before: int
    after: int
    kept: int
    keep: int
    samples: int
    H: int


@intrinsic
def gru_step(typingctx, zero, operands):
    """See `GruStep`."""
    require(GruStep, operands)
    return types.void(zero, operands), out_of_line("gru_step", GruStep, _write_gru_step)


def _write_gru_step(k: Lanes, args: GruStep) -> None:

    def body(v: Lanes, j: Any, *all_of: Sample) -> None:
        pre, recurrent, drive, old, new, keep = all_of
        r, z = (_activated(v, "sigmoid", pre.load(v, block, j)) for block in range(2))
        inner = recurrent.load(v, 0, j)
        n = formulas.tanh(v, v.fma(r, inner, drive.load(v, 0, j)))
        new.store(v.fma(z, old.load(v, 0, j) - n, n), 0, j)
        for block, value in enumerate((r, z, n, inner)):
            keep.store(value, block, j)
        # As in `lstm_step`.
        new.fetch(v, 1, j, k.builder.mul(args.samples, args.H))
        keep.fetch(v, 4, j, k.builder.mul(args.samples, args.keep))

    drives = [(args.gates, args.wide), (args.inner, args.wide), (args.drive, args.wide)]
    states = [(args.before, args.H), (args.after, args.H), (args.kept, args.keep)]
    every(k, (args.samples, args.H), [*drives, *states], body)


class GruPull(NamedTuple):
    """delta of [r, z, n's recurrent part, n's drive], and g <- g z.

    Attributes:
        kept: [samples, keep]. before: states [samples, H]. g: dC/dh_t, [samples, plane]. delta: [samples, 4 H].
    """

    kept: int
    keep: int
    before: int
    g: int
    plane: int
    delta: int
    samples: int
    H: int


@intrinsic
def gru_pull(typingctx, zero, operands):
    """See `GruPull`."""
    require(GruPull, operands)
    return types.void(zero, operands), out_of_line("gru_pull", GruPull, _write_gru_pull)


def _write_gru_pull(k: Lanes, args: GruPull) -> None:
    four = k.builder.mul(args.H, I64(4))

    def body(v: Lanes, j: Any, keep: Sample, old: Sample, up: Sample, delta: Sample) -> None:
        r, z, n, inner = (keep.load(v, block, j) for block in range(4))
        total = up.load(v, 0, j)
        # h_t = n + z (h_{t-1} - n): z is the share that goes straight back.
        back = total * z
        dn = (total - back) * (1.0 - n * n)
        delta.store(dn * inner * (r * (1.0 - r)), 0, j)
        delta.store(back * (old.load(v, 0, j) - n) * (1.0 - z), 1, j)
        delta.store(dn * r, 2, j)
        delta.store(dn, 3, j)
        up.store(back, 0, j)
        delta.fetch(v, 4, j, k.builder.neg(k.builder.mul(args.samples, four)))
        keep.fetch_back(v, 4, j, k.builder.mul(args.samples, args.keep))
        old.fetch_back(v, 1, j, k.builder.mul(args.samples, args.H))

    matrices = [(args.kept, args.keep), (args.before, args.H), (args.g, args.plane), (args.delta, four)]
    every(k, (args.samples, args.H), matrices, body)
