"""The complex cell of unitary networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, ProductCell, State

EPSILON = 1e-5
"""Under the root of |z| and beside |z| in the quotient, as in the authors' code."""


@dataclass(frozen=True)
class ComplexModReluCell(ProductCell):
    """s = [Re h, Im h]; z = a + d; h = z relu(|z| + b) / (|z| + 1e-5), |z| = sqrt(Re^2 + Im^2 + 1e-5).

    `hidden` counts real numbers, 2 per complex unit; the cell's own vector is ``act_bias`` [P, H / 2].

    References:
        Arjovsky, Shah, Bengio (2016), eq. 8; constants of Maduranga, Helfrich, Ye (2019).
    """

    additive: ClassVar[bool] = True

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[Re h, Im h]."""
        del s
        re, im, size = self._polar(a + d)
        open_ = size + own["act_bias"]
        scale = torch.where(open_ > 0, open_, torch.zeros_like(open_)) / (size + EPSILON)
        # One factor for both parts: the phase stays.
        return torch.cat((re * scale, im * scale), -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the relu."""
        del s
        return (self._polar(kept + d)[2] + own["act_bias"] > 0).to(kept.dtype)

    def _polar(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Re, Im and |z|."""
        half = self.hidden // 2
        re, im = z[..., :half], z[..., half:]
        # EPSILON under the root: |z| has a slope at 0.
        return re, im, (re * re + im * im + EPSILON).sqrt()
