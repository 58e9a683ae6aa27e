"""Gaussian weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import hyper_or, per_row, standard_normal, standard_uniform, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

_OWN = {"input": "sigma_in", "recurrent": "sigma_rec", "output": "sigma_out"}


@dataclass(frozen=True)
class Normal(Init):
    """Weights ~ N(0, sigma**2), biases 0.

    Attributes:
        sigma: standard deviation of all weights; >= 0.
        sigma_in, sigma_rec, sigma_out: of the input, recurrent, output weights alone; null: `sigma`. A row's tensor may
            lack them or hold NaN for null.
        bound_out: the read-out ~ U(-bound_out, bound_out) instead, >= 0; null: Gaussian. Excludes `sigma_out`.

    Raises:
        ConfigError: the read-out has a deviation and a bound.

    Numerics:
        One unit-variance draw per parameter is scaled: rows with equal keys differ by the factor only.

    References:
        Pascanu, Mikolov, Bengio (2013): sigma .01 with sigmoid, .1 with tanh ("basic tanh").
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sigma_in": ("input",),
        "sigma_rec": ("recurrent",),
        "sigma_out": ("output",),
        "bound_out": ("output",),
    }
    rows: ClassVar[Mapping[str, Range]] = {
        "sigma": Range(0, open_high=True),
        "sigma_in": Range(0, open_high=True, optional=True),
        "sigma_rec": Range(0, open_high=True, optional=True),
        "sigma_out": Range(0, open_high=True, optional=True),
        "bound_out": Range(0, open_high=True, optional=True),
    }

    sigma: float = 0.1
    sigma_in: float | None = None
    sigma_rec: float | None = None
    sigma_out: float | None = None
    bound_out: float | None = None

    def check(self) -> None:
        """Also: one law for the read-out."""
        super().check()
        if self.sigma_out is not None and self.bound_out is not None:
            raise ConfigError(
                "the read-out is either Gaussian or uniform",
                key="init.bound_out",
                value=self.bound_out,
                allowed="null, or init.sigma_out=null",
            )

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
            if spec.role == "output" and "bound_out" in hypers:
                bound = per_row(hypers["bound_out"], spec)
                uniform = (2 * standard_uniform(spec, keys) - 1) * bound
                # NaN is null, as for the deviations
                values[spec.name] = torch.where(torch.isnan(bound), values[spec.name], uniform)
        return values
