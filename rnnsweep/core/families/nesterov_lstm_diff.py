"""The second published form of the LSTM with restarting Nesterov momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.families.base import Feed, Values
from rnnsweep.core.families.filtered_lstm import FilteredLstm
from rnnsweep.core.families.filters import Momentum, constant, filtered_feed, restarting
from rnnsweep.core.families.input_path import InputPath, following, kappa
from rnnsweep.core.families.momentum import RESTART, SCALE
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.gated_cells import DifferenceLstmCell
from rnnsweep.core.types import LoopWeights
from rnnsweep.unit import Range


@dataclass(frozen=True)
class NesterovLstmDiff(FilteredLstm):
    """LSTM whose gates look ahead along the change of their own pre-activation.

        v_t = h_{t-1} W_rec + b_rec - s (u_t W_in + b)        gates = v_t + kappa_t (v_t - v_{t-1}),  v_0 = 0
        kappa_t = (k - 1) / (k + 2), k = 1..F again and again from a row's own first step

    Attributes:
        hidden, forget_bias, forget_bias_in: see `FilteredLstm`; here ``b`` enters with weight -s.
        s: step size of the input path per row, > 0.
        restart: F, steps until the sequence starts again, per row, >= 1.

    Numerics:
        Here h enters the recursion of v, so this is a cell of its own (state h, c, v), not a filter. What is the same
        at every step cancels in v_t - v_{t-1}, and kappa_1 = 0: both biases act as they are, -s b and b_rec.

    References:
        Nguyen et al. (2020): the authors' MNIST and TIMIT script; the paper's own form is `nesterov_lstm`.
    """

    rows: ClassVar[Mapping[str, Range]] = {**FilteredLstm.rows, "s": SCALE, "restart": RESTART}

    s: float = 1.0
    restart: int = 40

    @property
    def cell(self) -> DifferenceLstmCell:
        """The gated cell with v in its state."""
        return DifferenceLstmCell(self.hidden)

    @property
    def filters(self) -> bool:
        """Of the input path, one that forgets at once."""
        return True

    @property
    def input_path(self) -> DifferencePath:
        """The same drives, one step at a time."""
        return DifferencePath()

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop is fed with drives."""
        return super().weights(values, hypers).without_inputs()

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Drives [P, T, B, 4H + 1]: b_rec - s (u W_in + b), and kappa."""
        (P, T, B, _), s = inputs.shape, hypers["s"]
        # A filter that forgets at once.
        path = filtered_feed(values, inputs, lengths, Momentum(constant(s * 0, T), -s[:, None, None, None]), engine)
        # Also where it is the same for all sequences: the cell reads it from the drive.
        kappa = restarting(hypers["restart"], lengths, T).expand(P, T, B, 1)

        # Not `path` itself: what it feeds is in the drives, and need not be held a second time.
        pullback, back, both, width = path.pullback, path.back, path.both, path.inputs.shape[-1]
        assert back is not None

        def own(gradient: Tensor | None) -> Tensor:
            assert gradient is not None
            return gradient[..., :width]  # without kappa's, which is no parameter

        return Feed(
            # Here, not as the loop's bias: the drive has kappa beside the gates.
            torch.cat((path.inputs, kappa), -1),
            lambda gradient: pullback(own(gradient)),
            lambda gradient: back(own(gradient)),
            None if both is None else lambda gradient: both(own(gradient)),
        )


class DifferencePath(InputPath):
    """Drives [b_rec - s z, kappa]; the memory is k, counted from 0."""

    def memory(self, drive: int) -> int:
        """k alone."""
        del drive
        return 1

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P K"]]:
        """s, F and b_rec."""
        return {"s": hypers["s"][:, None], "restart": hypers["restart"][:, None], "b_rec": values["b_rec"]}

    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """See `InputPath.step`."""
        drive = torch.cat((constants["b_rec"] - constants["s"] * z, kappa(memory)), -1)
        return drive, following(memory, constants["restart"])
