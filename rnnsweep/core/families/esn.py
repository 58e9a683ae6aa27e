"""Echo state network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.activations import ACTIVATIONS, Activation, activation
from rnnsweep.core.families.base import Family, Values, readout_parameters
from rnnsweep.core.families.orthogonal_maps import each_row
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class Esn(Family):
    """A fixed random reservoir; only the read-out is trained (in closed form by learner ``ridge``).

        h_t = (1 - leak) h_{t-1} + leak f(h_{t-1} W + u_t W_in + b)

    Attributes:
        hidden: H, number of units.
        rho: spectral radius of W, per row, >= 0.
        nonzeros: non-zero entries per unit of W, per row.
        leak: per row, 0 < leak <= 1.
        input_scale: W_in ~ U(-input_scale, input_scale), per row. bias_scale: likewise b.
        activation: f.

    Numerics:
        W is drawn by the family, whatever the init, from (key of the row, parameter's name); its eigenvalues are
        computed in float64, each matrix by itself. W, W_in and b have no gradient. Omega is refused.

    References:
        Jaeger, Haas (2004).
    """

    activation: str = "tanh"
    rho: float = 0.95
    nonzeros: int = 10
    leak: float = 1.0
    input_scale: float = 1.0
    bias_scale: float = 0.0

    # An untrained matrix leaves Omega and sampling nothing to change.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    rows: ClassVar[Mapping[str, Range]] = {
        "rho": Range(0, open_high=True),
        "nonzeros": Range(1, integer=True, open_high=True),
        "leak": Range(0, 1, open_low=True),
        "input_scale": NOT_NEGATIVE,
        "bias_scale": NOT_NEGATIVE,
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(1, 8192, integer=True),
        "activation": tuple(name for name, f in ACTIVATIONS.items() if not f.has_bias and not f.paired),
    }

    @property
    def cell_activation(self) -> Activation:
        """The activation object."""
        return activation(self.activation)

    @property
    def leaky(self) -> bool:
        """Always."""
        return True

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec, w_in and b, which stay as they are drawn; w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_rec", (H, H), "fixed"),
            ParameterSpec("w_in", (n_inputs, H), "fixed"),
            ParameterSpec("b", (H,), "fixed"),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The reservoir."""
        del drawn
        sizes = {spec.name: spec for spec in specs}
        scales = {"w_in": self.input_scale, "b": self.bias_scale}
        values = {name: scale * (2 * _uniform(sizes[name], keys) - 1) for name, scale in scales.items()}
        # Pattern and entries from streams of their own: another `nonzeros` keeps the entries.
        order = _uniform(sizes["w_rec"], keys, " sparsity")
        entries = rng.normals(keys, sizes["w_rec"].size, rng.stream_of("w_rec")).unflatten(1, sizes["w_rec"].shape)
        values["w_rec"] = each_row(self._reservoir, entries, order)
        return values

    def _reservoir(self, entries: Tensor, order: Tensor) -> Tensor:
        # The first so many of a random order: what fewer non-zeros keep, more keep too.
        chosen = order.argsort(dim=1, stable=True)[:, : min(self.nonzeros, self.hidden)]
        sparse = entries * torch.zeros_like(order).scatter_(1, chosen, 1.0)
        rho = torch.linalg.eigvals(sparse).abs().max()
        # 0 almost never: every unit has a connection, so there is a cycle. Then nothing can be scaled.
        return sparse * (self.rho / rho) if float(rho) > 0 else sparse

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The reservoir."""
        return LoopWeights(values["w_rec"], values["w_in"], values["b"], leak=hypers["leak"])

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Nothing in the loop is trained."""
        del values, hypers, gradients
        return {}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The reservoir does not move."""
        del hypers, step
        return torch.zeros_like(values["w_rec"])


def _uniform(spec: ParameterSpec, keys: Tensor, suffix: str = "") -> Tensor:
    return rng.uniforms53(keys, spec.size, rng.stream_of(spec.name + suffix)).unflatten(1, spec.shape)
