"""LSTM with an Adam filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.filtered_lstm import FilteredLstm
from rnnsweep.core.families.momentum import BETA, MU, SCALE, AdamFilter
from rnnsweep.unit import Range


@dataclass(frozen=True)
class AdamLstm(AdamFilter, FilteredLstm):  # the filter first: its `weights` and `feed` wrap those of the base
    """LSTM whose gates' input path is filtered as Adam filters gradients.

        z_t = u_t W_in + b    v_t = mu v_{t-1} + s z_t    m_t = beta m_{t-1} + (1 - beta) z_t^2
        gates = v_t / sqrt(m_t + 1e-16) + h_{t-1} W_rec + b_rec

    Attributes:
        hidden, forget_bias, forget_bias_in: see `FilteredLstm`.
        mu: momentum per row, 0 <= mu < 1.
        s: step size of the input path per row, > 0.
        beta: decay of the mean square per row, 0 <= beta < 1.

    Numerics:
        Where z has been exactly 0 so far, the drive is 0 and its slope 1e8 s: clip gradients.

    References:
        Nguyen et al. (2020), section 2.4 (AdamLSTM).
    """

    rows: ClassVar[Mapping[str, Range]] = {**FilteredLstm.rows, "mu": MU, "s": SCALE, "beta": BETA}

    mu: float = 0.6
    s: float = 0.6
    beta: float = 0.1
