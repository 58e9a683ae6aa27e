"""Simple network with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.momentum import MU, SCALE, MomentumFilter
from rnnsweep.core.families.srn import Srn
from rnnsweep.unit import Range


@dataclass(frozen=True)
class MomentumSrn(MomentumFilter, Srn):  # the filter first: its `weights` and `feed` wrap those of the base
    """Simple network whose input path carries momentum.

        v_t = mu v_{t-1} + s (u_t W_in + b)        h_t = f(v_t + h_{t-1} W_rec)

    Attributes:
        hidden, activation, leak, output_bias: see `srn`.
        mu: momentum per row, 0 <= mu < 1.
        s: step size of the input path per row, > 0.

    Numerics:
        mu = 0, s = 1 is the plain `srn`. The loop is the fused one.

    References:
        Nguyen et al. (2020), eq. 6.
    """

    rows: ClassVar[Mapping[str, Range]] = {**Srn.rows, "mu": MU, "s": SCALE}

    mu: float = 0.6
    s: float = 0.6
