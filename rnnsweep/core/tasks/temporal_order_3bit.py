"""Temporal order with three symbols (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.tasks.synthetic import Whole, rounded_tenths
from rnnsweep.core.tasks.temporal_order import OrderTask


@dataclass(frozen=True)
class TemporalOrder3bit(OrderTask):
    """Three symbols, A or B, among distractors; the class is v0 + 2 v1 + 4 v2 (eight classes) at the last step.

    ``pascanu``: n = int(.1 L), positions n, int(.3 L), int(.6 L), each + U{0..n-1}.
    ``chernodub``: 1-based positions in [1, 2], [3, 4] and [6, 7] T/10, ends rounded (halves up).

    Numerics:
        Inputs are exactly 0 and 1. Tenths are taken in whole numbers, equal to int(.3 L) and int(.6 L).

    References:
        Pascanu, Mikolov, Bengio (2013) and their scripts; Chernodub, Nowicki (2016).

    Example:
        >>> TemporalOrder3bit(length=[50, 200]).max_length
        199
    """

    bits: ClassVar[int] = 3

    def windows(self, length: Whole) -> list[tuple[Whole, Whole]]:
        """First and last position of the three symbols."""
        if self.variant == "chernodub":
            ends = [(1, 2), (3, 4), (6, 7)]
            return [(rounded_tenths(low, length) - 1, rounded_tenths(high, length) - 1) for low, high in ends]
        n = length // 10
        return [(base, base + n - 1) for base in (n, 3 * length // 10, 6 * length // 10)]
