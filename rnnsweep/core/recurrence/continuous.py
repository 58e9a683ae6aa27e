"""Cells that discretise differential equations, and the minimal gated cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import (
    Drive,
    Kept,
    Own,
    PreActivation,
    ProductCell,
    Pulled,
    State,
    sigmoid,
    softplus,
)
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
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
class GatedIncrementCell(ProductCell):
    """d = [d_z, d_n]; h <- h + step sigmoid(a + d_z) tanh(a + d_n): gate and increment share one product.

    References:
        Chang, Chen, Haber, Chi (2019), AntisymmetricRNN with gating, eq. 12-13.
    """

    fused: ClassVar[Mapping[str, str]] = {"gpu": "rnnsweep.core.recurrence.gpu.cell_engine:GpuCellEngine"}

    @property
    def drive(self) -> int:
        """Gate and increment."""
        return 2 * self.hidden

    @property
    def kept(self) -> int:
        """Gate and tanh."""
        return 2 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """h."""
        return self.forward(a, d, s, own)[0]

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """h, and gate and tanh."""
        z, f = sigmoid(a + d[..., : self.hidden]), torch.tanh(a + d[..., self.hidden :])
        return s + own["step"] * z * f, torch.cat((z, f), -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of gate and tanh."""
        del d, s, own
        z, f = kept.chunk(2, -1)
        return torch.cat((z - z * z, 1 - f * f), -1)

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form; the step size is not trained."""
        del d, s
        z, f = kept.chunk(2, -1)
        both = own["step"] * g * z
        dz, df = both * f * (1 - z), both * (1 - f * f)
        return Pulled(dz + df, torch.cat((dz, df), -1), g.clone())


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
class SharedGatesCell(ProductCell):
    """d = [f, i, n]; h <- k h + (1 - k) n, k = sigmoid(f) / (sigmoid(f) + sigmoid(i)); no recurrent matrix.

    Numerics:
        k = sigmoid(softplus(-i) - softplus(-f)): both gates may be closed without 0 / 0.

    References:
        Feng et al. (2024), minLSTM with the two gates scaled to sum to 1.
    """

    @property
    def recurrent(self) -> int:
        """Nothing reads the state but the gates."""
        return 0

    @property
    def product(self) -> int:
        """There is none."""
        return 0

    @property
    def drive(self) -> int:
        """Two gates and the candidate."""
        return 3 * self.hidden

    @property
    def kept(self) -> int:
        """k, and how far both gates are closed."""
        return 3 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """h."""
        return self.forward(a, d, s, own)[0]

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """h, and k and the sigmoids of -f and -i."""
        del a, own
        H, shut = self.hidden, -d[..., : 2 * self.hidden]
        logs, n = softplus(shut), d[..., 2 * H :]
        k = sigmoid(logs[..., H:] - logs[..., :H])
        return n + k * (s - n), torch.cat((k, sigmoid(shut)), -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of both gates."""
        del d, s, own
        closed = kept[..., self.hidden :]
        return closed - closed * closed

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form."""
        del own
        k, f, i = kept.chunk(3, -1)
        back = k * g
        dk = back * (s - d[..., 2 * self.hidden :]) * (1 - k)
        # softplus(-x)' = -sigmoid(-x): i enters k with that sign, f with the other. a has no entries.
        return Pulled(kept[..., :0], torch.cat((dk * f, -dk * i, g - back), -1), back)
