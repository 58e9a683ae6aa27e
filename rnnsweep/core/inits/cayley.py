"""Rotations by angles in the first quadrant."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from rnnsweep.core.inits.eigen_angles import SkewInit


@dataclass(frozen=True)
class Cayley(SkewInit):
    """Eigenvalues e^{+-it} of the recurrent matrix with t ~ U(0, pi/2), see `SkewInit`.

    Attributes:
        bound: of the input weights, U(-bound, bound), per row; >= 0.

    Numerics:
        As `SkewInit`; skew entries lie in [0, 1).

    References:
        Helfrich, Willmott, Ye (2018), section 4: s = sqrt((1 - cos t) / (1 + cos t)) = tan(t / 2); input weights
        U(-.01, .01).
    """

    def angles(self, uniform: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """U(0, pi/2)."""
        return uniform * (math.pi / 2)
