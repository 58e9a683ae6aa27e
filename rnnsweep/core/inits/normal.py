"""Gaussian weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import hyper_or, per_row, standard_normal, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range

_OWN = {"input": "sigma_in", "recurrent": "sigma_rec", "output": "sigma_out"}


@dataclass(frozen=True)
class Normal(Init):
    """Weights ~ N(0, sigma**2), biases 0.

    Attributes:
        sigma: standard deviation of all weights; >= 0.
        sigma_in, sigma_rec, sigma_out: of the input, recurrent, output weights alone; null: `sigma`. A row's tensor may
            lack them or hold NaN for null.

    Numerics:
        One unit-variance draw per parameter is scaled: rows with equal keys differ by the factor only.

    References:
        Pascanu, Mikolov, Bengio (2013): sigma .01 with sigmoid, .1 with tanh ("basic tanh").
    """

    rows: ClassVar[Mapping[str, Range]] = {
        "sigma": Range(0, open_high=True),
        "sigma_in": Range(0, open_high=True, optional=True),
        "sigma_rec": Range(0, open_high=True, optional=True),
        "sigma_out": Range(0, open_high=True, optional=True),
    }

    sigma: float = 0.1
    sigma_in: float | None = None
    sigma_rec: float | None = None
    sigma_out: float | None = None

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights by name, float64 [P, *shape]."""
        del gain
        values = {}
        for spec in weights(specs):
            # Scaled after the draw: the same pattern whatever sigma is.
            sigma = hyper_or(_OWN[spec.role], hypers, hypers["sigma"])
            values[spec.name] = standard_normal(spec, keys) * per_row(sigma, spec)
        return values
