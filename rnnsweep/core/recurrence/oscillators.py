"""Cells of oscillators that do not see each other: s = [y, z], position and velocity; no recurrent matrix.

Both take the new z into y, implicit and explicit in turn: an undamped oscillator then neither gains nor loses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, ProductCell, Pulled, State


@dataclass(frozen=True)
class LoneOscillatorCell(ProductCell):
    """Base: position and velocity, which the drive alone moves."""

    @property
    def state(self) -> int:
        """y and z."""
        return 2 * self.hidden

    @property
    def recurrent(self) -> int:
        """No matrix reads the state."""
        return 0

    @property
    def product(self) -> int:
        """There is none."""
        return 0


@dataclass(frozen=True)
class UndampedCell(LoneOscillatorCell):
    """z <- z - step (tanh(w y + d) + alpha y), y <- y + step z.

    References:
        Rusch, Mishra (2021), UnICORNN, eq. 4 of one layer.
    """

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[y, z]."""
        del a
        y, z = s[..., : self.hidden], s[..., self.hidden :]
        z = z - own["step"] * (torch.tanh(own["w"] * y + d) + own["alpha"] * y)
        return torch.cat((y + own["step"] * z, z), -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the restoring tanh."""
        del kept
        f = torch.tanh(own["w"] * s[..., : self.hidden] + d)
        return 1 - f * f

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form; alpha is not trained."""
        H, step, w, alpha = self.hidden, own["step"], own["w"], own["alpha"]
        y, gy = s[..., :H], g[..., :H]
        f = torch.tanh(w * y + d)
        force = f + alpha * y
        # y_t contains step z_t.
        gz = g[..., H:] + step * gy
        moved = -step * gz
        da = moved * (1 - f * f)
        of_step = gy * (s[..., H:] - step * force) - gz * force
        return Pulled(kept, da, torch.cat((gy + w * da + alpha * moved, gz), -1), {"w": da * y, "step": of_step})


@dataclass(frozen=True)
class LinearOscillatorCell(LoneOscillatorCell):
    """z <- shrink (z + dt (d - stiffness y)), y <- y + dt z.

    References:
        Rusch, Rus (2025), LinOSS: shrink is 1 / (1 + dt^2 stiffness) of the implicit scheme (their eq. 3), 1 of the
        implicit-explicit one (eq. 5).
    """

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[y, z]."""
        del a
        y, z = s[..., : self.hidden], s[..., self.hidden :]
        z = own["shrink"] * (z + own["dt"] * (d - own["stiffness"] * y))
        return torch.cat((y + own["dt"] * z, z), -1)

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form."""
        H, dt, stiffness, shrink = self.hidden, own["dt"], own["stiffness"], own["shrink"]
        y, gy = s[..., :H], g[..., :H]
        force = d - stiffness * y
        free = s[..., H:] + dt * force
        # y_t contains dt z_t.
        gz = g[..., H:] + dt * gy
        back = shrink * gz
        da = dt * back
        parts = {"stiffness": -da * y, "dt": back * force + gy * (shrink * free), "shrink": gz * free}
        return Pulled(kept, da, torch.cat((gy - stiffness * da, back), -1), parts)
