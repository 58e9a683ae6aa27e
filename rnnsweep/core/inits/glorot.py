"""Glorot (Xavier) weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import fans, gains, per_row, standard_normal, standard_uniform, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Glorot(Init):
    """Weights with variance gain**2 * 2 / (fan in + fan out), biases 0.

    Attributes:
        distribution: ``uniform`` or ``normal``.
        gain: of the weights that feed the activation (input and recurrent); > 0; null: `calculate_gain` of the
            activation. The read-out is linear and has gain 1.

    Numerics:
        One standard draw per parameter is scaled. Fan in is the ``from`` size of W[from, to].

    References:
        Glorot, Bengio (2010); as `torch.nn.init.xavier_uniform_` and `xavier_normal_`.
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {"gain": ("input", "recurrent")}
    rows: ClassVar[Mapping[str, Range]] = {"gain": Range(0, open_low=True, open_high=True, optional=True)}
    fixed: ClassVar = {"distribution": ("uniform", "normal")}

    distribution: str = "uniform"
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
            deviation = gains(spec, keys, hypers, gain) * math.sqrt(2 / sum(fans(spec)))
            values[spec.name] = self._unit_variance(spec, keys) * per_row(deviation, spec)
        return values

    def _unit_variance(self, spec: ParameterSpec, keys: Tensor) -> Tensor:
        if self.distribution == "normal":
            return standard_normal(spec, keys)
        # U(-1, 1) has variance 1/3.
        return (2 * standard_uniform(spec, keys) - 1) * math.sqrt(3)
