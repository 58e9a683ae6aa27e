"""The second published form of the LSTM with restarting Nesterov momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.families.base import Feed, Values
from rnnsweep.core.families.filters import given_drives, restarting
from rnnsweep.core.families.lstm import Lstm, forget_biases
from rnnsweep.core.families.momentum import RESTART, SCALE
from rnnsweep.core.recurrence.gated_cells import DifferenceLstmCell
from rnnsweep.core.types import LoopWeights
from rnnsweep.unit import Range


@dataclass(frozen=True)
class NesterovLstmDiff(Lstm):
    """LSTM whose gates look ahead along the change of their own pre-activation.

        v_t = h_{t-1} W_rec - s (u_t W_in + b)        gates = v_t + kappa_t (v_t - v_{t-1}),  v_0 = 0
        kappa_t = (k - 1) / (k + 2), k = 1..F again and again from a row's own first step

    Attributes:
        hidden, forget_bias: see `lstm`; the bias enters with weight -s, so its initial value is divided by that.
        s: step size of the input path per row, > 0.
        restart: F, steps until the sequence starts again, per row, >= 1.

    Numerics:
        Here h enters the recursion of v, so this is a cell of its own (state h, c, v), not a filter.

    References:
        Nguyen et al. (2020): the authors' MNIST and TIMIT script; the paper's own form is `nesterov_lstm`.
    """

    rows: ClassVar[Mapping[str, Range]] = {**Lstm.rows, "s": SCALE, "restart": RESTART}

    s: float = 1.0
    restart: int = 40

    @property
    def cell(self) -> DifferenceLstmCell:
        """The gated cell with v in its state."""
        return DifferenceLstmCell(self.hidden)

    def initial(self, drawn: Values, specs: object, keys: Int64[Tensor, " P"]) -> dict[str, Float64[Tensor, "P ..."]]:
        """Gate biases as they act on the gates at first: -s b is what the init drew, or else the forget bias."""
        del specs
        bias = drawn["b"] if "b" in drawn else forget_biases(len(keys), self.hidden, self.forget_bias)
        return {"b": bias / -self.s}

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop is fed with drives."""
        return given_drives(super().weights(values, hypers))

    def feed(
        self, values: Values, hypers: Values, inputs: Float[Tensor, "P T B I"], lengths: Int64[Tensor, " P"]
    ) -> Feed:
        """Drives [P, T, B, 4H + 1]: s (u W_in + b), and kappa."""
        P, T, B, _ = inputs.shape
        s = hypers["s"][:, None, None, None]
        flat = inputs.flatten(1, 2)  # P TB I
        # Not put to 0 before a row's start: v is part of the state, which the loop holds still there.
        z = numerics.matmul(flat, values["w_in"]).unflatten(1, (T, B)) + values["b"][:, None, None, :]
        # Also where it is the same for all sequences: the cell reads it from the drive.
        kappa = restarting(hypers["restart"], lengths, T).expand(P, T, B, 1)

        def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
            assert gradient is not None
            # The last entry is kappa's, which is no parameter.
            dz = (s * gradient[..., :-1]).flatten(1, 2)
            return {"w_in": numerics.matmul(flat.transpose(1, 2), dz), "b": numerics.row_sum(dz)}

        return Feed(torch.cat((s * z, kappa), -1), pullback)
