"""Long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.gated_cells import LstmCell
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import ANY, Range


@dataclass(frozen=True)
class Lstm(CellFamily):
    """LSTM with torch's equations and gate order (i, f, g, o side by side); one bias.

        i, f, o = sigmoid(u W_in + h W_rec + b)    g = tanh(...)    c_t = f c_{t-1} + i g    h_t = o tanh(c_t)

    Attributes:
        hidden: H, number of units.
        forget_bias: initial bias of the forget gate, per row; left alone where the init sets gate biases (chrono).

    Numerics:
        Equals `torch.nn.LSTM` (whose two biases add up to ours) to rounding; gradients in closed form.

    References:
        Hochreiter, Schmidhuber (1997); Gers et al. (2000). forget_bias: Jozefowicz et al. (2015).
    """

    rows: ClassVar[Mapping[str, Range]] = {"forget_bias": ANY}

    forget_bias: float = 1.0

    @property
    def cell(self) -> Cell:
        """The gated cell."""
        return LstmCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec [H, 4H], w_in [I, 4H], b [4H], w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("w_rec", (H, 4 * H), "recurrent"),
            ParameterSpec("w_in", (n_inputs, 4 * H), "input"),
            # What each block does to the state: inits of gate biases go by it.
            ParameterSpec("b", (4 * H,), "bias", gates=("write", "keep", "new", "out")),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The forget gate's bias."""
        del specs
        return {} if "b" in drawn else {"b": forget_biases(len(keys), self.hidden, self.forget_bias)}


def forget_biases(rows: int, hidden: int, value: float) -> Float64[Tensor, "rows gates"]:
    """Gate biases [rows, 4 hidden], zero but for the forget gate."""
    bias = torch.zeros(rows, 4 * hidden, dtype=torch.float64)
    bias[:, hidden : 2 * hidden] = value  # the second of i, f, g, o
    return bias
