"""Undamped independent controlled oscillatory recurrent network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.recurrence.cells import sigmoid
from rnnsweep.core.recurrence.oscillators import UndampedCell
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class UnICoRnn(CellFamily):
    """Undamped oscillators that do not see each other: a Hamiltonian system, in steps that conserve its structure.

        z_t = z_{t-1} - step (tanh(w y_{t-1} + u_t W_in + b) + alpha y_{t-1})        y_t = y_{t-1} + step z_t
        step = dt sigmoid(c), of each unit

    There is no recurrent matrix: Omega is refused. Units meet between layers (`layers`).

    Attributes:
        hidden: H, number of oscillators; the read-out sees y.
        dt: largest time step, per row, >= 0.
        alpha: restoring force, per row, >= 0.

    Numerics:
        At first w ~ U(0, 1) and c ~ U(-0.1, 0.1). Gradients in closed form.

    References:
        Rusch, Mishra (2021), UnICORNN, eq. 4 and their code; dt and alpha of its noisy CIFAR-10. Ours differs: no
        dropout; all layers share dt and alpha, which are per row; the init draws the input weights.
    """

    dt: float = 0.126
    alpha: float = 13.0

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.LOCAL})
    rows: ClassVar[Mapping[str, Range]] = {"dt": NOT_NEGATIVE, "alpha": NOT_NEGATIVE}
    own: ClassVar[tuple[str, ...]] = ("w", "step")
    constants: ClassVar[tuple[str, ...]] = ("alpha",)

    @property
    def cell(self) -> UndampedCell:
        """The oscillators."""
        return UndampedCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w [H], c [H], w_in, b, w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w", (H,), "diagonal"),
            ParameterSpec("c", (H,), "pace"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec("b", (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Uniform, as in the authors' code."""
        del drawn, specs
        w, c = (rng.uniforms53(keys, self.hidden, rng.stream_of(name)) for name in ("w", "c"))
        return {"w": w, "c": 0.2 * c - 0.1}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The step of each unit in the place of c."""
        return super().weights({**values, "step": hypers["dt"][:, None] * sigmoid(values["c"])}, hypers)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Through the steps."""
        named = super().pullback(values, hypers, gradients)
        # Layers hand in the input path's gradients alone.
        if "step" in gradients.cell:
            share = sigmoid(values["c"])
            named["c"] = gradients.cell["step"] * hypers["dt"][:, None] * (share - share * share)
        return named
