"""Antisymmetric recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.continuous import GatedIncrementCell, IncrementCell
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class Antisymmetric(CellFamily):
    """Forward Euler of h' = tanh(h A + u W_in + b) with A = M - M^T - gamma I, which is stable for every M.

        plain    h_t = h_{t-1} + step tanh(a + d)                    a = h_{t-1} A,  d = u_t W_in + b
        gated    h_t = h_{t-1} + step sigmoid(a + d_z) tanh(a + d_n)

    Attributes:
        hidden: H, number of units.
        gated: whether a gate of each unit, of the same A, scales its increment.
        step: Euler's step size, per row, >= 0.
        gamma: diffusion, per row, >= 0; damps what Euler's step would let grow.

    Numerics:
        Gradients in closed form. The eigenvalues of A have the real part -gamma, to rounding.

    References:
        Chang, Chen, Haber, Chi (2019), eq. 11-13. Ours differs: M is drawn by the init (theirs N(0, sigma^2 / H)), so
        that an entry of M - M^T has twice its variance.
    """

    gated: bool = False
    step: float = 0.1
    gamma: float = 0.01

    rows: ClassVar[Mapping[str, Range]] = {"step": NOT_NEGATIVE, "gamma": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {**CellFamily.fixed, "gated": (True, False)}
    constants: ClassVar[tuple[str, ...]] = ("step",)

    @property
    def cell(self) -> Cell:
        """Euler's step."""
        return GatedIncrementCell(self.hidden) if self.gated else IncrementCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """m [H, H], w_in [I, H] (gated: [I, 2H]), b, w_out, b_out."""
        H = self.hidden
        wide = 2 * H if self.gated else H
        return (
            # Gated, A leads into gates and increments alike: no unit's incoming weights are its own.
            ParameterSpec("m", (H, H), "recurrent", into="both" if self.gated else "loop"),
            ParameterSpec("w_in", (n_inputs, wide), "input"),
            ParameterSpec("b", (wide,), "bias", gates=("write", "new") if self.gated else ()),
            *readout_parameters(H, n_outputs),
        )

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """A in the place of M."""
        a = _skew(values["m"])
        damped = a - torch.diag_embed(hypers["gamma"][:, None].expand(-1, self.hidden))
        return super().weights({**values, "w_rec": damped}, hypers)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Through M -> M - M^T, whose transpose is itself."""
        return super().pullback(values, hypers, gradients) | {"m": _skew(gradients.w_rec)}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The change of A; gamma I has none."""
        del values, hypers
        return _skew(step["m"])


def _skew(m: Tensor) -> Tensor:
    return m - m.transpose(1, 2)
