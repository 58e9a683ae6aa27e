"""LSTM with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.filtered_lstm import FilteredLstm
from rnnsweep.core.families.momentum import MU, SCALE, MomentumFilter
from rnnsweep.unit import Range


@dataclass(frozen=True)
class MomentumLstm(MomentumFilter, FilteredLstm):  # the filter first: its `weights` and `feed` wrap those of the base
    """LSTM whose gates' input path carries momentum.

        v_t = mu v_{t-1} + s (u_t W_in + b)        gates = v_t + h_{t-1} W_rec + b_rec

    Attributes:
        hidden, forget_bias, forget_bias_in: see `FilteredLstm`.
        mu: momentum per row, 0 <= mu < 1.
        s: step size of the input path per row, > 0.

    Numerics:
        mu = 0, s = 1 is the plain `lstm`.

    References:
        Nguyen et al. (2020), section 2.3 (MomentumLSTM).
    """

    rows: ClassVar[Mapping[str, Range]] = {**FilteredLstm.rows, "mu": MU, "s": SCALE}

    mu: float = 0.6
    s: float = 0.6
