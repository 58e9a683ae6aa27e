"""He (Kaiming) weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import fans, gains, per_row, standard_normal, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class He(Init):
    """Weights ~ N(0, gain**2 / fan in), biases 0.

    Attributes:
        gain: of the weights that feed the activation (input and recurrent); > 0; null: `calculate_gain` of the
            activation. The read-out is linear and has gain 1.

    Numerics:
        One standard draw per parameter is scaled. Fan in is the ``from`` size of W[from, to].

    References:
        He, Zhang, Ren, Sun (2015); as `torch.nn.init.kaiming_normal_`.
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {"gain": ("input", "recurrent")}
    rows: ClassVar[Mapping[str, Range]] = {"gain": Range(0, open_low=True, open_high=True, optional=True)}

    gain: float | None = None

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights by name, float64 [P, *shape]."""
        values = {}
        for spec in weights(specs):
            # W[from, to]: the first of the two fans is torch's "fan_in".
            deviation = gains(spec, keys, hypers, gain) / math.sqrt(fans(spec)[0])
            values[spec.name] = standard_normal(spec, keys) * per_row(deviation, spec)
        return values
