"""Temporal order: which of A and B came first, which second (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from dataclasses import dataclass

from rnnsweep.core.tasks.symbols import OrderTask
from rnnsweep.core.tasks.synthetic import Whole, rounded_tenths


@dataclass(frozen=True)
class TemporalOrder(OrderTask):
    """Two symbols, A or B, among distractors; the class is v0 + 2 v1 (four classes) at the last step.

    ``pascanu``: n = int(.1 L), positions n + U{0..n-1} and int(.5 L) + U{0..n-1}.
    ``chernodub``: 1-based positions in [T/10, 2T/10] and [4T/10, 5T/10], ends rounded (halves up).

    Numerics:
        Inputs are exactly 0 and 1. Tenths are taken in whole numbers, equal to int(.1 L) and int(.5 L).

    References:
        Pascanu, Mikolov, Bengio (2013) and their scripts; Chernodub, Nowicki (2016).

    Example:
        >>> task = TemporalOrder(length=20)
        >>> task.n_inputs, task.n_outputs, task.max_length
        (6, 4, 20)
    """

    def windows(self, length: Whole) -> list[tuple[Whole, Whole]]:
        """First and last position of both symbols."""
        if self.variant == "chernodub":
            ends = [(1, 2), (4, 5)]
            return [(rounded_tenths(low, length) - 1, rounded_tenths(high, length) - 1) for low, high in ends]
        n = length // 10
        return [(base, base + n - 1) for base in (n, length // 2)]
