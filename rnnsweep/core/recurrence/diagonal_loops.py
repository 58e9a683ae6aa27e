"""Simple loops of diagonals (`recurrence.diagonal`) without the product with a matrix that is nearly all 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import KeptRecord
from rnnsweep.core.recurrence.described_cells import DescribedCell
from rnnsweep.core.recurrence.diagonal import DiagonalGradients, by_diagonals, cell_of
from rnnsweep.core.recurrence.wrapping import LoopsOfCell
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace


class DiagonalLoops:
    """Runs such loops for an engine of the simple cell, whose records and traces they show.

    Args:
        loops: the engine's loops of a cell, with the errors of x in their traces.

    Numerics:
        Those of the loops.
    """

    def __init__(self, loops: Callable[[DescribedCell], LoopsOfCell]) -> None:
        self._of = loops

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> Record | None:
        """See `Engine.forward`; None where the loop is no such one."""
        cell = cell_of(weights, activation)
        if cell is None:
            return None
        found = self._of(cell).forward(inputs, by_diagonals(weights), lengths)
        return KeptRecord(found.inputs, found.h, None, weights, lengths, found.kept)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool
    ) -> tuple[LoopGradients, Trace | None] | None:
        """See `Engine.backward`; the gradient of w_rec is 0 but on the diagonals. None as in `forward`."""
        w, cell = record.weights, cell_of(record.weights, activation)
        if cell is None:
            return None
        if not isinstance(record, KeptRecord):
            raise TypeError("a record of another loop: it does not hold what the diagonals' way back reads")
        given = replace(record, weights=by_diagonals(w))
        found, trace = self._of(cell).backward(given, direct, keep=keep)
        own = DiagonalGradients.of(found)
        return own, None if trace is None else Trace(record, direct, trace.delta, trace.x)
