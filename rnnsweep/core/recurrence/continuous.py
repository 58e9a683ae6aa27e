"""Cells that discretise differential equations, and the minimal gated cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, State
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.gated_formulas import GatedIncrement, SharedGates
from rnnsweep.core.recurrence.step_formulas import (
    Increment,
    LipschitzIncrement,
    MinimalGate,
    Oscillation,
    StepFormulas,
)


@dataclass(frozen=True)
class OscillatorCell(DescribedCell):
    """s = [y, z]; z <- z + dt (tanh(a + d) - gamma y - epsilon z), y <- y + dt z; a reads both y and z.

    References:
        Rusch, Mishra (2021), coRNN, eq. 3 as in their code.
    """

    additive: ClassVar[bool] = True
    formulas: ClassVar[StepFormulas] = Oscillation()
    read: ClassVar[int] = 2
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the forcing tanh."""
        del d, s, own
        return 1 - kept * kept


@dataclass(frozen=True)
class EulerCell(DescribedCell):
    """a = [h A, h W]; h <- h + step (h A + tanh(h W + d)).

    References:
        Erichson et al. (2021), Lipschitz recurrent network, forward Euler.
    """

    formulas: ClassVar[StepFormulas] = LipschitzIncrement()
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the tanh."""
        del d, s, own
        return 1 - kept * kept


@dataclass(frozen=True)
class IncrementCell(DescribedCell):
    """h <- h + step tanh(a + d).

    References:
        Chang, Chen, Haber, Chi (2019), AntisymmetricRNN, eq. 11.
    """

    additive: ClassVar[bool] = True
    formulas: ClassVar[StepFormulas] = Increment()
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the tanh."""
        del d, s, own
        return 1 - kept * kept


@dataclass(frozen=True)
class GatedIncrementCell(DescribedCell):
    """d = [d_z, d_n]; h <- h + step sigmoid(a + d_z) tanh(a + d_n): gate and increment share one product.

    References:
        Chang, Chen, Haber, Chi (2019), AntisymmetricRNN with gating, eq. 12-13.
    """

    formulas: ClassVar[StepFormulas] = GatedIncrement()
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of gate and tanh."""
        del d, s, own
        z, f = kept.chunk(2, -1)
        return torch.cat((z - z * z, 1 - f * f), -1)


@dataclass(frozen=True)
class MinimalGateCell(DescribedCell):
    """d = [z, n]; h <- (1 - sigmoid(z)) h + sigmoid(z) n; no recurrent matrix.

    References:
        Feng et al. (2024), minGRU.
    """

    formulas: ClassVar[StepFormulas] = MinimalGate()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the gate."""
        del d, s, own
        z = kept[..., : self.hidden]
        return z - z * z


@dataclass(frozen=True)
class SharedGatesCell(DescribedCell):
    """d = [f, i, n]; h <- k h + (1 - k) n, k = sigmoid(f) / (sigmoid(f) + sigmoid(i)); no recurrent matrix.

    Numerics:
        Both gates may be closed without 0 / 0: see `gated_formulas.SharedGates`.

    References:
        Feng et al. (2024), minLSTM with the two gates scaled to sum to 1.
    """

    formulas: ClassVar[StepFormulas] = SharedGates()
    read: ClassVar[int] = 0
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of both gates."""
        del d, s, own
        closed = kept[..., self.hidden : 3 * self.hidden]
        return closed - closed * closed
