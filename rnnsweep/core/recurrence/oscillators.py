"""Cells of oscillators that do not see each other: s = [y, z], position and velocity; no recurrent matrix.

Both take the new z into y, implicit and explicit in turn: an undamped oscillator then neither gains nor loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, State
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.step_formulas import LinearOscillation, StepFormulas, UndampedOscillation


@dataclass(frozen=True)
class UndampedCell(DescribedCell):
    """z <- z - step (tanh(w y + d) + alpha y), y <- y + step z.

    References:
        Rusch, Mishra (2021), UnICORNN, eq. 4 of one layer.
    """

    formulas: ClassVar[StepFormulas] = UndampedOscillation()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the restoring tanh."""
        del d, s, own
        return 1 - kept * kept


@dataclass(frozen=True)
class LinearOscillatorCell(DescribedCell):
    """z <- shrink (z + dt (d - stiffness y)), y <- y + dt z.

    References:
        Rusch, Rus (2025), LinOSS: shrink is 1 / (1 + dt^2 stiffness) of the implicit scheme (their eq. 3), 1 of the
        implicit-explicit one (eq. 5).
    """

    formulas: ClassVar[StepFormulas] = LinearOscillation()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED
