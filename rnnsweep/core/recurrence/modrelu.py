"""The complex cell of unitary networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, State
from rnnsweep.core.recurrence.described_cells import FUSED, TENSORS, DescribedCell
from rnnsweep.core.recurrence.step_formulas import ComplexModRelu


@dataclass(frozen=True)
class ComplexModReluCell(DescribedCell):
    """s = [Re h, Im h]; z = a + d; h = z relu(|z| + b) / (|z| + 1e-5), |z| = sqrt(Re^2 + Im^2 + 1e-5).

    `hidden` counts real numbers, 2 per complex unit; the cell's own vector is ``act_bias`` [P, H / 2].

    References:
        Arjovsky, Shah, Bengio (2016), eq. 8; constants of Maduranga, Helfrich, Ye (2019).
    """

    additive: ClassVar[bool] = True
    formulas: ClassVar[ComplexModRelu] = ComplexModRelu()
    read: ClassVar[int] = 2
    fused: ClassVar[Mapping[str, str]] = FUSED

    @property
    def units(self) -> int:
        """Complex units."""
        return self.hidden // 2

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the relu."""
        del d, s
        size = self.formulas.size(TENSORS, kept.split(self.units, -1))
        return (size + own["act_bias"] > 0).to(kept.dtype)
