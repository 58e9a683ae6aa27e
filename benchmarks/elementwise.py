"""How many instructions a step's formulas take for one sample, on the way there and back: counted by running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TANH, EXP, LOG1P = 22.0, 14.0, 22.0
"""Instructions of polynomials in float32 (`cpu.emit.formulas`); a root and a quotient are one, though slow ones."""


class Count:
    """Counts what is done with its blocks; `step_formulas.Operations`."""

    def __init__(self) -> None:
        self.found = 0.0

    def _more(self, count: float) -> Counted:
        self.found += count
        return Counted(self._more)

    def blocks(self, count: int) -> tuple[Counted, ...]:
        """Blocks to begin with."""
        return tuple(Counted(self._more) for _ in range(count))

    def tanh(self, x: object) -> Counted:
        """See `Operations`."""
        return self._more(TANH)

    def root(self, x: object) -> Counted:
        """See `Operations`."""
        return self._more(1)

    def exp(self, x: object) -> Counted:
        """See `Operations`."""
        return self._more(EXP)

    def log1p(self, x: object) -> Counted:
        """See `Operations`."""
        return self._more(LOG1P)

    def zero(self, like: object) -> Counted:
        """See `Operations`: a constant."""
        return Counted(self._more)

    def where_positive(self, of: object, yes: object, no: object) -> Counted:
        """See `Operations`: a comparison and a selection."""
        return self._more(2)


class Counted:
    """A block: one instruction for each operation with another or with a number."""

    def __init__(self, more: Callable[[float], Counted]) -> None:
        self._more = more

    def _one(self, *others: object) -> Counted:
        return self._more(1)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = _one


def of_formulas(formulas: Any) -> float:
    """Of a step and its way back, for one entry of each block; errors of a state are added up once more."""
    o = Count()
    s, kept, g = o.blocks(formulas.states), o.blocks(formulas.kept + formulas.seen), o.blocks(formulas.states)
    x, own = o.blocks(formulas.inputs + bool(formulas.matrix)), {name: o.blocks(1)[0] for name in formulas.own}
    if formulas.matrix:
        formulas.read(o, x, s, own)
        formulas.pull_read(o, kept, s, own, formulas.read_again(o, kept, s, own))
    formulas.step(o, x, s, own)
    formulas.pull(o, kept, s, own, g)
    return o.found + formulas.states


def of_step(family: Any, weights: Any, steps: int) -> float:
    """Of one sample of one of so many steps and of its way back, all entries together."""
    from rnnsweep.core.recurrence.diagonal import cell_of
    from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
    from rnnsweep.core.recurrence.gated_formulas import GruStep, LstmStep
    from rnnsweep.core.recurrence.state_space import StateSpaceCell

    cell = family.cell or cell_of(weights, family.cell_activation)
    if isinstance(cell, StateSpaceCell):
        return _of_block(cell.hidden / steps, cell.states)
    known: Any = {LstmCell: LstmStep(), GruCell: GruStep()}
    formulas = getattr(cell, "formulas", None) or known.get(type(cell))
    if formulas is not None:
        return of_formulas(formulas) * getattr(cell, "units", family.hidden)
    # a simple loop: f, f' and the error that it is multiplied with and added to; of modReLU about as many
    return (TANH + 4) * family.hidden if cell is None else 0.0


def _of_block(hidden: float, states: int) -> float:
    """Of a block: the recurrence both ways, and forward what is behind it, of `hidden` units that a step shows."""
    from rnnsweep.core.recurrence.block_formulas import gelu, normal, rotated, sigmoid, turned_by

    way, around = Count(), Count()
    re, im, lam_re, lam_im = way.blocks(4)
    for turn in (rotated, rotated, turned_by):
        turn(lam_re, lam_im, re, im)
    way.found += 4  # a drive, and an error, are added to each part
    (y,) = around.blocks(1)
    gelu(around, normal(y, y, y)), sigmoid(around, y)
    around.found += 6  # sums of mean and variance, a square; the share of the gate, what is passed by, their sum
    return way.found * states + around.found * hidden


def of_memory(pairs: float, hidden: int) -> float:
    """Of what a matrix memory shows: weights of pairs of steps, and a quotient and a sigmoid for each unit shown."""
    pair, unit = Count(), Count()
    (keep, score), (read, gate) = pair.blocks(2), unit.blocks(2)
    _ = score * pair.exp(keep + keep - keep)
    _ = read / gate * (1 / (unit.exp(-gate) + 1))
    return pair.found * pairs + unit.found * hidden
