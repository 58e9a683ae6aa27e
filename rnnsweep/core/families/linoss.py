"""Linear oscillatory state space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.families.mapping import pull
from rnnsweep.core.recurrence.cells import sigmoid
from rnnsweep.core.recurrence.oscillators import LinearOscillatorCell
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import POSITIVE, Range

_RAW = ("a", "pace")
_MAPPED = ("stiffness", "dt", "shrink")


@dataclass(frozen=True)
class LinOss(CellFamily):
    """Forced linear oscillators y'' = u B - A y with A = diag(relu(a)) and a trained time step of each.

        im      z_t = z_{t-1} + dt (u_t B - A y_t)            y_t = y_{t-1} + dt z_t         loses energy
        imex    z_t = z_{t-1} + dt (u_t B - A y_{t-1})        y_t = y_{t-1} + dt z_t         conserves it
        dt = sigmoid(pace)

    The read-out is linear in y: one layer, without the nonlinear block that follows it in the paper. There is no
    recurrent matrix: Omega is refused.

    Attributes:
        hidden: H, number of oscillators; the read-out sees y.
        scheme: ``im``: implicit; ``imex``: implicit in y, explicit in z.
        stiffness: initially a ~ U(0, stiffness), per row, > 0.

    Numerics:
        Gradients in closed form. ``im`` is stable for every A >= 0; ``imex`` for dt^2 A <= 4, hence always while
        A <= 4. An oscillator with a < 0 is a free mass, and its a has no gradient, as in the paper.

    References:
        Rusch, Rus (2025), LinOSS, eq. 1-5; at first pace ~ U(0, 1), as in their code. Ours differs: B is real, as in
        the paper; their code's complex B and C are two oscillators with one A and dt.
    """

    scheme: str = "imex"
    stiffness: float = 1.0

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.LOCAL})
    rows: ClassVar[Mapping[str, Range]] = {"stiffness": POSITIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {**CellFamily.fixed, "scheme": ("im", "imex")}
    own: ClassVar[tuple[str, ...]] = _MAPPED

    @property
    def cell(self) -> LinearOscillatorCell:
        """The oscillators."""
        return LinearOscillatorCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """a [H], pace [H], w_in [I, H], w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("a", (H,), "diagonal"),
            ParameterSpec("pace", (H,), "pace"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Uniform."""
        del drawn, specs
        a, pace = (rng.uniforms53(keys, self.hidden, rng.stream_of(name)) for name in _RAW)
        return {"a": self.stiffness * a, "pace": pace}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """What the cell reads of a and pace."""
        mapped = self._mapped(values).split(self.hidden, 1)
        return super().weights({**values, **dict(zip(_MAPPED, mapped, strict=True))}, hypers)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Through the map."""
        named = super().pullback(values, hypers, gradients)
        # Layers hand in the input path's gradients alone.
        if gradients.cell:
            mapped = torch.cat([gradients.cell[name] for name in _MAPPED], 1)
            named |= pull(self._mapped, {name: values[name] for name in _RAW}, mapped)
        return named

    def _mapped(self, values: Values) -> Tensor:
        """A, dt and shrink side by side, [P, 3H]."""
        stiffness, dt = torch.relu(values["a"]), sigmoid(values["pace"])
        shrink = 1 / (1 + dt * dt * stiffness) if self.scheme == "im" else torch.ones_like(dt)
        return torch.cat((stiffness, dt, shrink), 1)
