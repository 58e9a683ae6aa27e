"""Coupled oscillatory recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.base import CellFamily, readout_parameters
from rnnsweep.core.recurrence.continuous import OscillatorCell
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class CoRnn(CellFamily):
    """Forced, damped, coupled oscillators y'' = tanh(y W + y' V + u W_in + b) - gamma y - epsilon y', in small steps.

        z_t = z_{t-1} + dt (tanh(...) - gamma y_{t-1} - epsilon z_{t-1})        y_t = y_{t-1} + dt z_t

    Attributes:
        hidden: H, number of oscillators; the read-out sees y.
        dt: time step, gamma: frequency, epsilon: damping; per row, >= 0.

    Numerics:
        W and V are one recurrent matrix ``w_rec`` [2H, H], applied to [y, z]; an init draws each by itself. Gradients
        in closed form.

    References:
        Rusch, Mishra (2021), eq. 3; z on the right as in their code.
    """

    dt: float = 0.042
    gamma: float = 2.7
    epsilon: float = 4.7

    rows: ClassVar[Mapping[str, Range]] = {"dt": NOT_NEGATIVE, "gamma": NOT_NEGATIVE, "epsilon": NOT_NEGATIVE}
    constants: ClassVar[tuple[str, ...]] = ("dt", "gamma", "epsilon")

    @property
    def cell(self) -> OscillatorCell:
        """The oscillators."""
        return OscillatorCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec [2H, H], w_in, b, w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_rec", (2 * H, H), "recurrent"),  # W above V: from y, from z
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec("b", (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )
