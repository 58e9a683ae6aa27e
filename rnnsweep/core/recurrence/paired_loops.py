"""Simple loops of pairs (`recurrence.paired`) without the product with a matrix that is nearly all 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.cells import KeptRecord
from rnnsweep.core.recurrence.paired import PairedCell, by_pairs, from_diagonals
from rnnsweep.core.recurrence.wrapping import LoopsOfCell
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace


class PairedLoops:
    """Runs such loops for an engine of the simple cell, whose records and traces they show.

    Args:
        loops: the engine's loops of a cell, with the errors of x in their traces.

    Numerics:
        Those of the loops.
    """

    def __init__(self, loops: Callable[[PairedCell], LoopsOfCell]) -> None:
        self._of = loops

    def takes(self, weights: LoopWeights) -> bool:
        """Whether a loop of pairs is nothing else besides."""
        return weights.masks is None and weights.leak is None and not weights.cell

    def forward(
        self, inputs: Float[Tensor, "P T B I"], weights: LoopWeights, lengths: Int64[Tensor, "P ..."]
    ) -> Record:
        """See `Engine.forward`."""
        found = self._loops(weights).forward(inputs, by_pairs(weights), lengths)
        return Record(found.inputs, found.h, None, weights, lengths)

    def backward(self, record: Record, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; the gradient of w_rec is 0 but on the diagonals."""
        w, h = record.weights, record.h
        kept = h.new_zeros(*h.shape[:1], h.shape[1] - 1, h.shape[2], 0)
        given = KeptRecord(record.inputs, h, None, by_pairs(w), record.lengths, kept)
        found, trace = self._loops(w).backward(given, direct, keep=keep)
        own = replace(found, w_rec=from_diagonals(found.cell), cell={})
        return own, None if trace is None else Trace(record, direct, trace.delta, trace.x)

    def _loops(self, weights: LoopWeights) -> LoopsOfCell:
        return self._of(PairedCell(weights.w_rec.shape[1] // 2))
