"""What families with a simple loop and an orthogonal matrix of a skew one have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.core.activations import ACTIVATIONS, Activation, activation
from rnnsweep.core.families.base import Family, readout_parameters
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class SkewFamily(Family):
    """Base of scornn and exprnn: they differ in the map from the skew matrix A to W.

    Attributes:
        activation: f; modReLU, whose bias is the only one, in the papers.
    """

    orthogonal: ClassVar[bool] = True

    activation: str = "modrelu"

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(2, 8192, integer=True),
        "activation": tuple(name for name in ACTIVATIONS if name != "oplu"),
    }

    @property
    def cell_activation(self) -> Activation:
        """The activation object."""
        return activation(self.activation)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """a_skew, w_in, act_bias (modReLU) or b, w_out, b_out."""
        H = self.hidden
        # modReLU brings a bias; a second one beside it is not in the papers.
        bias = "act_bias" if self.cell_activation.has_bias else "b"
        return (
            ParameterSpec("a_skew", (H, H), "skew", group="skew"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec(bias, (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )
