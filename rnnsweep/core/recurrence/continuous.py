"""Cells that discretise differential equations, and the minimal gated cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, ProductCell, Pulled, State, sigmoid


@dataclass(frozen=True)
class OscillatorCell(ProductCell):
    """s = [y, z]; z <- z + dt (tanh(a + d) - gamma y - epsilon z), y <- y + dt z; a reads both y and z.

    References:
        Rusch, Mishra (2021), coRNN, eq. 3 as in their code.
    """

    additive: ClassVar[bool] = True

    @property
    def state(self) -> int:
        """y and z."""
        return 2 * self.hidden

    @property
    def recurrent(self) -> int:
        """The matrix reads both."""
        return 2 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[y, z]."""
        y, z, dt = s[..., : self.hidden], s[..., self.hidden :], own["dt"]
        # y takes the new z, as in the authors' code: implicit and explicit in turn, not plain Euler.
        z = z + dt * (torch.tanh(a + d) - own["gamma"] * y - own["epsilon"] * z)
        return torch.cat((y + dt * z, z), -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the forcing tanh."""
        del s, own
        f = torch.tanh(kept + d)
        return 1 - f * f

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form; dt, gamma and epsilon are not trained."""
        H, dt, f = self.hidden, own["dt"], torch.tanh(kept + d)
        # y_t contains dt z_t, so that z's error gets dt times y's.
        gz = g[..., H:] + dt * g[..., :H]
        da = dt * gz * (1 - f * f)
        # gamma y and epsilon z both act on z_t: both errors come from gz.
        back = torch.cat((g[..., :H] - dt * own["gamma"] * gz, gz - dt * own["epsilon"] * gz), -1)
        del s
        return Pulled(da, da, back)


@dataclass(frozen=True)
class EulerCell(ProductCell):
    """a = [h A, h W]; h <- h + step (h A + tanh(h W + d)).

    References:
        Erichson et al. (2021), Lipschitz recurrent network, forward Euler.
    """

    @property
    def product(self) -> int:
        """h A and h W."""
        return 2 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """h."""
        return s + own["step"] * (a[..., : self.hidden] + torch.tanh(a[..., self.hidden :] + d))

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the tanh."""
        del s, own
        f = torch.tanh(kept[..., self.hidden :] + d)
        return 1 - f * f

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form; the step size is not trained."""
        del s
        f = torch.tanh(kept[..., self.hidden :] + d)
        linear = own["step"] * g
        curved = linear * (1 - f * f)
        # A copy of g: the loop adds the way through a to it, in place.
        return Pulled(torch.cat((linear, curved), -1), curved, g.clone())


@dataclass(frozen=True)
class MinimalGateCell(ProductCell):
    """d = [z, n]; h <- (1 - sigmoid(z)) h + sigmoid(z) n; no recurrent matrix.

    References:
        Feng et al. (2024), minGRU.
    """

    @property
    def recurrent(self) -> int:
        """Nothing reads the state but the gate."""
        return 0

    @property
    def product(self) -> int:
        """There is none."""
        return 0

    @property
    def drive(self) -> int:
        """Gate and candidate."""
        return 2 * self.hidden

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """h."""
        del a, own
        z = sigmoid(d[..., : self.hidden])
        return (1 - z) * s + z * d[..., self.hidden :]

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the gate."""
        del kept, s, own
        z = sigmoid(d[..., : self.hidden])
        return z - z * z

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
        z = sigmoid(d[..., : self.hidden])
        dz = g * (d[..., self.hidden :] - s) * z * (1 - z)
        # a has no entries, and kept is a: it serves as its gradient.
        return Pulled(kept, torch.cat((dz, g * z), -1), (1 - z) * g)
