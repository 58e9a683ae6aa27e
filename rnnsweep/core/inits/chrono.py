"""Gate biases for long memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.glorot import Glorot
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Chrono(Init):
    """Biases of gates that keep the state ~ log U(1, longest - 1), of those that write the negative of it.

    So a unit's time constant is spread evenly over 1..longest steps. Weights are uniform as Glorot's with gain 1; other
    biases 0. LSTM: forget gate b, input gate -b (the same draw). GRU: update gate b. A config refuses it for a family
    without gates.

    Attributes:
        longest: T_max, the longest dependency in steps (usually the task's length), per row; >= 3.

    Numerics:
        One uniform draw per unit, in float64.

    References:
        Tallec, Ollivier (2018), section 3; weights as in Glorot, Bengio (2010).
    """

    gates: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, Range]] = {"longest": Range(3, open_high=True)}

    longest: float = 100.0

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights and gate biases by name, float64 [P, *shape]."""
        # A gain per row is given, so that the activation's is not taken.
        values = Glorot().draw(specs, keys, {"gain": torch.ones(len(keys), dtype=torch.float64)}, gain)
        for spec in specs:
            if spec.gates:
                values[spec.name] = _biases(spec, keys, hypers["longest"])
        return values


def _biases(spec: ParameterSpec, keys: Tensor, longest: Tensor) -> Tensor:
    """Gate biases [P, gates * H]."""
    H = spec.size // len(spec.gates)
    drawn = rng.uniforms53(keys, H, rng.stream_of(spec.name))
    # U[1, longest - 1), as the draw is U[0, 1): never log 0.
    keep = torch.log(1 + drawn * (longest[:, None] - 2))
    sign = {"keep": 1.0, "write": -1.0}
    # One draw for both gates: what the forget gate keeps the input gate keeps out.
    return torch.cat([sign.get(gate, 0.0) * keep for gate in spec.gates], 1)
