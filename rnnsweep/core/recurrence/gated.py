"""Gated cells with their vector-Jacobian products in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnnsweep.core.recurrence.cells import Cell, Own, Pulled, sigmoid


@dataclass(frozen=True)
class LstmCell(Cell):
    """s = [h, c]; gates i, f, g, o = a + d.

    References:
        Hochreiter, Schmidhuber (1997), as in `torch.nn.LSTM`.
    """

    @property
    def state(self) -> int:
        """h and c."""
        return 2 * self.hidden

    def step(self, a: Tensor, d: Tensor, s: Tensor, own: Own) -> Tensor:
        """[h, c]."""
        del own
        i, f, g, o = _gates(a + d)
        c = f * s[..., self.hidden :] + i * g
        return torch.cat((o * torch.tanh(c), c), -1)

    def pull(self, a: Tensor, d: Tensor, s: Tensor, own: Own, g: Tensor) -> Pulled:
        """Closed form."""
        del own
        gates, before = _pull_gates(a + d, s[..., self.hidden :], g)
        return Pulled(gates, gates, torch.cat((torch.zeros_like(before), before), -1))


@dataclass(frozen=True)
class DifferenceLstmCell(Cell):
    """s = [h, c, v]; d = [input path, kappa]; v = a - input path; gates = v + kappa (v - v_{t-1}).

    References:
        Nguyen et al. (2020), second form in their code.
    """

    @property
    def state(self) -> int:
        """h, c and v."""
        return 6 * self.hidden

    def step(self, a: Tensor, d: Tensor, s: Tensor, own: Own) -> Tensor:
        """[h, c, v]."""
        del own
        H = self.hidden
        v, gates = self._ahead(a, d, s)
        i, f, g, o = _gates(gates)
        c = f * s[..., H : 2 * H] + i * g
        return torch.cat((o * torch.tanh(c), c, v), -1)

    def pull(self, a: Tensor, d: Tensor, s: Tensor, own: Own, g: Tensor) -> Pulled:
        """Closed form; kappa is no parameter."""
        del own
        H, kappa = self.hidden, d[..., -1:]
        gates, before = _pull_gates(self._ahead(a, d, s)[1], s[..., H : 2 * H], g[..., : 2 * H])
        dv = (1 + kappa) * gates + g[..., 2 * H :]
        back = torch.cat((torch.zeros_like(before), before, -kappa * gates), -1)
        return Pulled(dv, torch.cat((-dv, torch.zeros_like(kappa)), -1), back)

    def _ahead(self, a: Tensor, d: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        v = a - d[..., :-1]
        return v, v + d[..., -1:] * (v - s[..., 2 * self.hidden :])


@dataclass(frozen=True)
class GruCell(Cell):
    """s = h; r, z = a + d; n = tanh(d_n + r (a_n + b_n)).

    References:
        Cho et al. (2014), as in `torch.nn.GRU`.
    """

    def step(self, a: Tensor, d: Tensor, s: Tensor, own: Own) -> Tensor:
        """h."""
        _, z, n, _ = self._parts(a, d, own)
        return (1 - z) * n + z * s

    def pull(self, a: Tensor, d: Tensor, s: Tensor, own: Own, g: Tensor) -> Pulled:
        """Closed form."""
        r, z, n, inner = self._parts(a, d, own)
        dn = g * (1 - z) * (1 - n * n)
        dr, dz = dn * inner * r * (1 - r), g * (s - n) * z * (1 - z)
        return Pulled(torch.cat((dr, dz, dn * r), -1), torch.cat((dr, dz, dn), -1), g * z, {"b_n": dn * r})

    def _parts(self, a: Tensor, d: Tensor, own: Own) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        H = self.hidden
        gates = sigmoid(a[..., : 2 * H] + d[..., : 2 * H])
        inner = a[..., 2 * H :] + own["b_n"]
        r = gates[..., :H]
        return r, gates[..., H:], torch.tanh(d[..., 2 * H :] + r * inner), inner


def _gates(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """i, f, g, o after their nonlinearities."""
    i, f, g, o = x.chunk(4, -1)
    return sigmoid(i), sigmoid(f), torch.tanh(g), sigmoid(o)


def _pull_gates(x: Tensor, before: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the gates' pre-activations and of c_{t-1}, from those of [h, c]."""
    H = before.shape[-1]
    i, f, new, o = _gates(x)
    tanh_c = torch.tanh(f * before + i * new)
    gh = g[..., :H]
    gc = g[..., H:] + gh * o * (1 - tanh_c * tanh_c)
    parts = (
        gc * new * i * (1 - i),
        gc * before * f * (1 - f),
        gc * i * (1 - new * new),
        gh * tanh_c * o * (1 - o),
    )
    return torch.cat(parts, -1), gc * f
