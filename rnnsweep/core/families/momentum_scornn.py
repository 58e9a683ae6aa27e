"""scoRNN with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.momentum import MU, SCALE, MomentumFilter
from rnnsweep.core.families.scornn import Scornn
from rnnsweep.unit import Range


@dataclass(frozen=True)
class MomentumScornn(MomentumFilter, Scornn):  # the filter first: its `weights` and `feed` wrap those of the base
    """Orthogonal network whose input path carries momentum.

        v_t = mu v_{t-1} + s u_t W_in        h_t = f(v_t + h_{t-1} W)        W orthogonal, see `scornn`

    Attributes:
        hidden, negatives, activation: see `scornn`.
        mu: momentum per row, 0 <= mu < 1.
        s: step size of the input path per row, > 0.

    Numerics:
        mu = 0, s = 1 is the plain `scornn`. The loop is the fused one.

    References:
        Nguyen et al. (2020), section 2.3 (their MomentumDTRIV has another map).
    """

    rows: ClassVar[Mapping[str, Range]] = {**Scornn.rows, "mu": MU, "s": SCALE}

    mu: float = 0.6
    s: float = 0.6
