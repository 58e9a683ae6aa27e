"""Copying: repeat ten symbols after a long pause (Arjovsky, Shah, Bengio 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.tasks.recall import RecallTask


@dataclass(frozen=True)
class Copying(RecallTask):
    """Ten symbols of eight kinds, a pause, a marker, the symbols again: T + 20 steps, T = `length`.

    ``urnn``: T - 1 blanks, the marker, 10 blanks; recall from the step after the marker. ``exprnn``: T blanks, the
    marker, 9 blanks; recall at the marker.

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Arjovsky, Shah, Bengio (2016); Lezcano-Casado, Martínez-Rubio (2019) for ``exprnn``.

    Example:
        >>> task = Copying(length=1000)
        >>> task.n_inputs, task.n_outputs, task.max_length, round(task.chance_loss, 4)
        (10, 9, 1020, 0.0204)
    """

    fixed: ClassVar = {**RecallTask.fixed, "variant": ("urnn", "exprnn")}

    variant: str = "urnn"

    @property
    def kinds(self) -> int:
        """8."""
        return 8

    @property
    def span(self) -> int:
        """10."""
        return 10

    @property
    def steps_besides_length(self) -> int:
        """The symbols twice."""
        return 20

    @property
    def trigger_lead(self) -> int:
        """1 for ``urnn``."""
        return 1 if self.variant == "urnn" else 0
