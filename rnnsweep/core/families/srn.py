"""The simple recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation, activation
from rnnsweep.core.families.base import Family, Values, readout_parameters
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Srn(Family):
    """Simple (Elman) recurrent network, optionally leaky.

        a_t = h_{t-1} W_rec + u_t W_in + b        h_t = (1 - leak) h_{t-1} + leak f(a_t)        h_0 = 0

    Attributes:
        hidden: H, number of units; even for OPLU.
        activation: f, see `core.activations`.
        leak: per row, 0 < leak <= 1; 1 is the plain network, bit for bit.
        output_bias: whether the read-out has a bias (that of Chernodub, Nowicki 2016 has none).

    Numerics:
        Rows with leak 1 never share a pack with leaky rows (`structure`), so their loop has no leak terms.

    References:
        Elman (1990). Pascanu, Mikolov, Bengio (2013), section 1.1: their code's post-activation state.
    """

    activation: str = "tanh"
    leak: float = 1.0
    output_bias: bool = True

    rows: ClassVar[Mapping[str, Range]] = {"leak": Range(0, 1, open_low=True)}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(1, 8192, integer=True),
        "activation": tuple(ACTIVATIONS),
        "output_bias": (True, False),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell_activation.paired and self.hidden % 2:
            raise ConfigError("oplu works on pairs", key="family.hidden", value=self.hidden, allowed="an even number")

    @property
    def cell_activation(self) -> Activation:
        """The activation object."""
        return activation(self.activation)

    @property
    def leaky(self) -> bool:
        """Whether this row's leak is another than 1."""
        return self.leak != 1.0

    def structure(self) -> dict[str, Any]:
        """Leaky and plain networks run different loops, so that a plain row never pays for a leaky neighbour."""
        return {**super().structure(), "leaky": self.leaky}

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec, w_in, b, (act_bias), w_out, (b_out)."""
        H = self.hidden
        own = [
            ParameterSpec("w_rec", (H, H), "recurrent"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec("b", (H,), "bias"),
        ]
        if self.cell_activation.has_bias:
            own.append(ParameterSpec("act_bias", (H,), "bias"))
        return (*own, *readout_parameters(H, n_outputs, self.output_bias))

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The raw parameters themselves."""
        # None takes the leak's terms out of the loop; a leak of 1 would leave 0 * h in it.
        leak = hypers["leak"] if self.leaky else None
        return LoopWeights(values["w_rec"], values["w_in"], values["b"], values.get("act_bias"), leak=leak)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The loop's gradients themselves."""
        del values, hypers
        named = {"w_rec": gradients.w_rec, "w_in": gradients.w_in, "b": gradients.bias, "act_bias": gradients.act_bias}
        # None: not in this loop, or not handed in, as by Omega, whose gradient is of w_rec alone.
        return {name: value for name, value in named.items() if value is not None}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The step of W_rec itself."""
        del values, hypers
        return step["w_rec"]
