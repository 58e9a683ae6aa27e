"""Memorization: repeat a pattern after a long pause (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.tasks.recall import RecallTask


@dataclass(frozen=True)
class Memorization(RecallTask):
    """A pattern of n symbols, L blanks, a trigger at step L + n (0-based) at which the recall starts: L + 2 n steps.

    ``5bit``: 5 symbols of 2 kinds. ``20bit``: 10 symbols of 5 kinds. `length` is L.

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Pascanu, Mikolov, Bengio (2013), supplement, and their scripts: noiseless memorization; Martens, Sutskever
        (2011).

    Example:
        >>> task = Memorization(length=50, variant="20bit")
        >>> task.n_inputs, task.n_outputs, task.max_length
        (7, 6, 70)
    """

    fixed: ClassVar = {**RecallTask.fixed, "variant": ("5bit", "20bit")}

    variant: str = "5bit"

    @property
    def kinds(self) -> int:
        """2 or 5."""
        return 2 if self.variant == "5bit" else 5

    @property
    def span(self) -> int:
        """5 or 10."""
        return 5 if self.variant == "5bit" else 10

    @property
    def steps_besides_length(self) -> int:
        """The pattern twice."""
        return 2 * self.span
