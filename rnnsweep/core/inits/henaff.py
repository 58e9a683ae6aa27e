"""Rotations by any angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from rnnsweep.core.inits.eigen_angles import SkewInit


@dataclass(frozen=True)
class Henaff(SkewInit):
    """Eigenvalues e^{+-it} of the recurrent matrix with t ~ U(-pi, pi), see `SkewInit`.

    Attributes:
        bound: of the input weights, U(-bound, bound), per row; >= 0.

    Numerics:
        As `SkewInit`; skew entries have no bound (tan near pi/2), but are finite.

    References:
        Henaff, Szlam, LeCun (2016), section 3; Lezcano-Casado, Martinez-Rubio (2019) for skew parameters, who use the
        exponential map: ours are tan(t / 2), which gives the same angles under the Cayley map.
    """

    def angles(self, uniform: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """U(-pi, pi)."""
        return (2 * uniform - 1) * math.pi
