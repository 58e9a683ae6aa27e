"""Gated cells with their vector-Jacobian products in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, ProductCell, Pulled, State, sigmoid
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.gated_formulas import LongMemory
from rnnsweep.core.recurrence.step_formulas import StepFormulas


@dataclass(frozen=True)
class LstmCell(ProductCell):
    """s = [h, c]; gates i, f, g, o = a + d.

    References:
        Hochreiter, Schmidhuber (1997), as in `torch.nn.LSTM`.
    """

    additive: ClassVar[bool] = True
    fused: ClassVar[Mapping[str, str]] = {
        "cpu": "rnnsweep.core.recurrence.cpu.engine.gated:LstmEngine",
        "gpu": "rnnsweep.core.recurrence.gpu.cell_engine:GpuCellEngine",
    }

    @property
    def state(self) -> int:
        """h and c."""
        return 2 * self.hidden

    @property
    def product(self) -> int:
        """The gates."""
        return 4 * self.hidden

    @property
    def drive(self) -> int:
        """The gates."""
        return 4 * self.hidden

    @property
    def kept(self) -> int:
        """i, f, g, o and tanh(c)."""
        return 5 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[h, c]."""
        del own
        i, f, g, o = _gates(a + d)
        c = f * s[..., self.hidden :] + i * g
        return torch.cat((o * torch.tanh(c), c), -1)

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """[h, c], and all gates with tanh(c)."""
        del own
        kept, c = _cell_of(a + d, s[..., self.hidden :])
        return torch.cat((kept[..., 3 * self.hidden : 4 * self.hidden] * kept[..., 4 * self.hidden :], c), -1), kept

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of i, f, g, o and tanh(c)."""
        del d, s, own
        return _gate_slopes(kept)

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form."""
        del own, d
        gates, before = _pull_gates(kept, s[..., self.hidden :], g)
        # h_{t-1} acts through a alone, and that way the loop adds.
        return Pulled(gates, gates, torch.cat((torch.zeros_like(before), before), -1))


@dataclass(frozen=True)
class DifferenceLstmCell(ProductCell):
    """s = [h, c, v]; d = [input path, kappa]; v = a + input path; gates = v + kappa (v - v_{t-1}).

    References:
        Nguyen et al. (2020), second form in their code.
    """

    fused: ClassVar[Mapping[str, str]] = {"cpu": "rnnsweep.core.recurrence.cpu.engine.gated:DifferenceLstmEngine"}

    @property
    def state(self) -> int:
        """h, c and v."""
        return 6 * self.hidden

    @property
    def product(self) -> int:
        """The gates."""
        return 4 * self.hidden

    @property
    def drive(self) -> int:
        """The gates and kappa."""
        return 4 * self.hidden + 1

    @property
    def kept(self) -> int:
        """i, f, g, o and tanh(c)."""
        return 5 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[h, c, v]."""
        del own
        H = self.hidden
        v, gates = self._ahead(a, d, s)
        i, f, g, o = _gates(gates)
        c = f * s[..., H : 2 * H] + i * g
        return torch.cat((o * torch.tanh(c), c, v), -1)

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """[h, c, v], and all gates with tanh(c)."""
        del own
        H = self.hidden
        v, gates = self._ahead(a, d, s)
        kept, c = _cell_of(gates, s[..., H : 2 * H])
        return torch.cat((kept[..., 3 * H : 4 * H] * kept[..., 4 * H :], c, v), -1), kept

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of i, f, g, o and tanh(c)."""
        del d, s, own
        return _gate_slopes(kept)

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form; kappa is no parameter."""
        del own
        H, kappa = self.hidden, d[..., -1:]
        gates, before = _pull_gates(kept, s[..., H : 2 * H], g[..., : 2 * H])
        # v acts in its own step with 1 + kappa, and in the next one as v_{t-1} with -kappa.
        dv = (1 + kappa) * gates + g[..., 2 * H :]
        back = torch.cat((torch.zeros_like(before), before, -kappa * gates), -1)
        return Pulled(dv, torch.cat((dv, torch.zeros_like(kappa)), -1), back)

    def _ahead(self, a: Tensor, d: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        v = a + d[..., :-1]
        return v, v + d[..., -1:] * (v - s[..., 2 * self.hidden :])


@dataclass(frozen=True)
class GruCell(ProductCell):
    """s = h; r, z = a + d; n = tanh(d_n + r (a_n + b_n)).

    References:
        Cho et al. (2014), as in `torch.nn.GRU`.
    """

    fused: ClassVar[Mapping[str, str]] = {
        "cpu": "rnnsweep.core.recurrence.cpu.engine.gated:GruEngine",
        "gpu": "rnnsweep.core.recurrence.gpu.cell_engine:GpuCellEngine",
    }

    @property
    def product(self) -> int:
        """r, z and n."""
        return 3 * self.hidden

    @property
    def drive(self) -> int:
        """r, z and n."""
        return 3 * self.hidden

    @property
    def kept(self) -> int:
        """r, z, n and h U_n + b_n."""
        return 4 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """h."""
        return self.forward(a, d, s, own)[0]

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """h, and r, z, n with h U_n + b_n."""
        H = self.hidden
        gates = sigmoid(a[..., : 2 * H] + d[..., : 2 * H])
        inner = a[..., 2 * H :] + own["b_n"]
        r, z = gates[..., :H], gates[..., H:]
        n = torch.tanh(d[..., 2 * H :] + r * inner)
        return n + z * (s - n), torch.cat((gates, n, inner), -1)  # (1 - z) n + z s, with one product less

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of r, z and n."""
        del d, s, own
        gates, n = kept[..., : 2 * self.hidden], kept[..., 2 * self.hidden : 3 * self.hidden]
        return torch.cat((gates - gates * gates, 1 - n * n), -1)

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form."""
        del own, d
        r, z, n, inner = kept.chunk(4, -1)
        back = g * z
        # n enters h with weight 1 - z, that is g - g z.
        dn = (g - back) * (1 - n * n)
        # back holds g z, and sigmoid's slope is z (1 - z).
        dr, dz = dn * inner * (r - r * r), back * (s - n) * (1 - z)
        inside = dn * r
        # r multiplies a_n but not d_n: only there do the two gradients differ.
        return Pulled(torch.cat((dr, dz, inside), -1), torch.cat((dr, dz, dn), -1), back, {"b_n": inside})


@dataclass(frozen=True)
class LongMemoryCell(DescribedCell):
    """s = [y, z]; a = [y W_1, y W_2, y W_z]; d = [d_1, d_2, d_z, d_y]; both states move by steps of their own size.

        t_1, t_2 = dt sigmoid(a + d)
        z <- z + t_1 (tanh(a_z + d_z) - z)        y <- y + t_2 (tanh(z W_y + d_y) - y)

    W_y reads the new z: a second product, with the cell's own matrix ``w_y``.

    References:
        Rusch, Mishra, Erichson, Mahoney (2022), LEM, eq. 3.
    """

    apart: ClassVar[bool] = False  # w_y
    formulas: ClassVar[StepFormulas] = LongMemory()
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of both sigmoids and both candidates."""
        del d, s, own
        gates, new = kept.chunk(2, -1)
        return torch.cat((gates - gates * gates, 1 - new * new), -1)


def _gates(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """i, f, g, o after their nonlinearities."""
    i, f, g, o = x.chunk(4, -1)
    return sigmoid(i), sigmoid(f), torch.tanh(g), sigmoid(o)


def _cell_of(x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """i, f, g, o and tanh(c) side by side, and c, of fresh pre-activations x and c_{t-1}.

    Numerics:
        sigmoid(x) = 1/2 + tanh(x / 2) / 2, so one tanh over all gates serves both nonlinearities, with constants.
    """
    H = before.shape[-1]
    half, offset, _, _ = _constants(H, x.dtype, x.device)
    # In place: x is fresh, and nobody else wants the pre-activations.
    gates = x.mul_(half).tanh_().mul_(half).add_(offset)
    c = gates[..., H : 2 * H] * before + gates[..., :H] * gates[..., 2 * H : 3 * H]
    return torch.cat((gates, torch.tanh(c)), -1), c


@lru_cache(maxsize=32)
def _constants(hidden: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each gate: scale and offset of tanh, and f' = add + y (times - y)."""
    # sigmoid: f' = y (1 - y); tanh: f' = 1 + y (0 - y).
    rows = ((0.5, 0.5, 1.0, 0.5), (0.5, 0.5, 0.0, 0.5), (0.0, 0.0, 1.0, 0.0), (1.0, 1.0, 0.0, 1.0))
    spread = (torch.tensor(row, dtype=dtype, device=device).repeat_interleave(hidden) for row in rows)
    half, offset, add, times = spread
    return half, offset, add, times


def _gate_slopes(kept: Tensor) -> Tensor:
    """f' of i, f, g, o and tanh(c) from their values."""
    H = kept.shape[-1] // 5
    _, _, add, times = _constants(H, kept.dtype, kept.device)
    gates, tanh_c = kept[..., : 4 * H], kept[..., 4 * H :]
    return torch.cat((add + gates * (times - gates), 1 - tanh_c * tanh_c), -1)


def _pull_gates(kept: Tensor, before: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the gates' pre-activations and of c_{t-1}, from those of [h, c]."""
    H = before.shape[-1]
    gates, tanh_c = kept[..., : 4 * H], kept[..., 4 * H :]
    i, f, new, o = gates.chunk(4, -1)
    gh = g[..., :H]
    # c reaches the loss twice: handed on, and through h.
    gc = g[..., H:] + gh * o * (1 - tanh_c * tanh_c)
    _, _, add, times = _constants(H, kept.dtype, kept.device)
    # Each gate's error before its own slope, side by side, so that one product applies all four.
    before_slopes = torch.cat((gc * new, gc * before, gc * i, gh * tanh_c), -1)
    return before_slopes.mul_(add + gates * (times - gates)), gc * f
