"""Gated cells with layer norm inside the step, their vector-Jacobian products in closed form.

The drives' own layer norm comes before the loop (`families.regularised`): d is what it made, with the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, Pulled, State, sigmoid
from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
from rnnsweep.core.recurrence.layer_norm import normalised, pulled_back


@dataclass(frozen=True)
class NormedLstmCell(LstmCell):
    """gates = gain LN(a) + d; h = o tanh(cell_gain LN(c) + cell_bias); else the LSTM.

    Own: ``gain`` [4H], ``cell_gain`` and ``cell_bias`` [H]. LN goes over all four gates together.

    References:
        Ba, Kiros, Hinton (2016), equations 20 to 22; the three biases of equation 20 are one here, in d.
    """

    additive: ClassVar[bool] = False
    fused: ClassVar[Mapping[str, str]] = {"cpu": "rnnsweep.core.recurrence.cpu.engine.gated:LstmEngine"}

    @property
    def kept(self) -> int:
        """i, f, g, o, tanh(LN(c)); LN(a), LN(c) before their gains; one over their standard deviations."""
        return 10 * self.hidden + 2

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[h, c]."""
        return self.forward(a, d, s, own)[0]

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """[h, c], and what the way back needs."""
        H = self.hidden
        hat, spread = normalised(a)
        i, f, g, o = (own["gain"] * hat + d).chunk(4, -1)
        i, f, g, o = sigmoid(i), sigmoid(f), torch.tanh(g), sigmoid(o)
        c = f * s[..., H:] + i * g
        cell_hat, cell_spread = normalised(c)
        bent = torch.tanh(own["cell_gain"] * cell_hat + own["cell_bias"])
        return torch.cat((o * bent, c), -1), torch.cat((i, f, g, o, bent, hat, cell_hat, spread, cell_spread), -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of i, f, g, o and tanh(LN(c))."""
        return super().slopes(kept[..., : 5 * self.hidden], d, s, own)

    def pull(self, kept: Kept, d: Drive, s: State, own: Own, g: State) -> Pulled:
        """Closed form."""
        del d
        H = self.hidden
        i, f, new, o, bent = kept[..., : 5 * H].chunk(5, -1)
        hat, cell_hat = kept[..., 5 * H : 9 * H], kept[..., 9 * H : 10 * H]
        spread, cell_spread = kept[..., -2:-1], kept[..., -1:]
        gh = g[..., :H]
        shown = gh * o * (1 - bent * bent)
        gc = g[..., H:] + pulled_back(shown * own["cell_gain"], cell_hat, cell_spread)
        parts = (
            gc * new * (i - i * i),
            gc * s[..., H:] * (f - f * f),
            gc * i * (1 - new * new),
            gh * bent * (o - o * o),
        )
        gates = torch.cat(parts, -1)
        sums = {"gain": gates * hat, "cell_gain": shown * cell_hat, "cell_bias": shown}
        back = torch.cat((torch.zeros_like(gh), gc * f), -1)
        return Pulled(pulled_back(gates * own["gain"], hat, spread), gates, back, sums)


@dataclass(frozen=True)
class NormedGruCell(GruCell):
    """r, z = gain LN(a_rz) + d_rz; n = tanh(d_n + r (gain_n LN(a_n) + b_n)); else the GRU.

    Own: ``gain`` [3H], ``b_n`` [H]. LN goes over both gates together, and over the candidate alone.

    References:
        Ba, Kiros, Hinton (2016), supplementary material, equations 29 to 31, with torch's place of z.
    """

    fused: ClassVar[Mapping[str, str]] = {"cpu": "rnnsweep.core.recurrence.cpu.engine.gated:GruEngine"}

    @property
    def kept(self) -> int:
        """r, z, n, gain_n LN(a_n) + b_n; LN(a) before its gain; one over the two standard deviations."""
        return 7 * self.hidden + 2

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """h, and what the way back needs."""
        H = self.hidden
        (hat, spread), (new_hat, new_spread) = normalised(a[..., : 2 * H]), normalised(a[..., 2 * H :])
        gates = sigmoid(own["gain"][..., : 2 * H] * hat + d[..., : 2 * H])
        inner = own["gain"][..., 2 * H :] * new_hat + own["b_n"]
        r, z = gates[..., :H], gates[..., H:]
        n = torch.tanh(d[..., 2 * H :] + r * inner)
        return n + z * (s - n), torch.cat((gates, n, inner, hat, new_hat, spread, new_spread), -1)

    def pull(self, kept: Kept, d: Drive, s: State, own: Own, g: State) -> Pulled:
        """Closed form."""
        H = self.hidden
        plain = super().pull(kept[..., : 4 * H], d, s, own, g)
        hat, new_hat = kept[..., 4 * H : 6 * H], kept[..., 6 * H : 7 * H]
        scaled = plain.a * own["gain"]
        a = (
            pulled_back(scaled[..., : 2 * H], hat, kept[..., -2:-1]),
            pulled_back(scaled[..., 2 * H :], new_hat, kept[..., -1:]),
        )
        sums = {"gain": plain.a * kept[..., 4 * H : 7 * H], "b_n": plain.own["b_n"]}
        return Pulled(torch.cat(a, -1), plain.d, plain.s, sums)
