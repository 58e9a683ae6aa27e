"""LSTM with scheduled-restart Nesterov momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.filtered_lstm import FilteredLstm
from rnnsweep.core.families.momentum import RESTART, SCALE, NesterovFilter
from rnnsweep.unit import Range


@dataclass(frozen=True)
class NesterovLstm(NesterovFilter, FilteredLstm):  # the filter first: its `weights` and `feed` wrap those of the base
    """LSTM whose gates' input path carries Nesterov momentum that restarts (the paper's SRLSTM).

        v_t = kappa_t v_{t-1} + s (u_t W_in + b)        gates = v_t + h_{t-1} W_rec + b_rec
        kappa_t = (k - 1) / (k + 2), k = 1..F again and again from a row's own first step

    Attributes:
        hidden, forget_bias, forget_bias_in: see `FilteredLstm`.
        s: step size of the input path per row, > 0.
        restart: F, steps until the sequence starts again, per row, >= 1.

    Numerics:
        F = 1 is the plain `lstm` with s.

    References:
        Nguyen et al. (2020), section 2.5; the authors' other form is `nesterov_lstm_diff`.
    """

    rows: ClassVar[Mapping[str, Range]] = {**FilteredLstm.rows, "s": SCALE, "restart": RESTART}

    s: float = 1.0
    restart: int = 40
