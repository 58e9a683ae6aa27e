"""How states of matrix memories are laid out, for the cell and its engine. Shapes: see `core.types`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.recurrence.cells import ProductCell, State, softplus


@dataclass(frozen=True)
class HeadMemories(ProductCell):
    """s = [h, C, n, m] of N heads of D units.

    Attributes:
        heads: N; hidden is N D.
        sigmoid_forget: whether f is a sigmoid, else an exponential.
    """

    heads: int = 1
    sigmoid_forget: bool = True

    apart: ClassVar[bool] = False  # the units of a head share n and m

    @property
    def size(self) -> int:
        """D."""
        return self.hidden // self.heads

    def log_forget(self, f: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
        """Of f's pre-activation."""
        return -softplus(-f) if self.sigmoid_forget else f

    def empty(self, s: State) -> Bool[Tensor, "P B N 1"]:
        """Heads that have written nothing yet: neither n nor what was read of C says anything."""
        shown = s[..., : self.hidden].unflatten(-1, (self.heads, self.size))
        return ((self.memory(s)[1] == 0) & (shown == 0)).all(-1, keepdim=True)

    def memory(self, s: State) -> tuple[Float[Tensor, "P B N D D"], Float[Tensor, "P B N D"], Float[Tensor, "P B N 1"]]:
        """C, n and m of a state or of its gradient."""
        H, N, D = self.hidden, self.heads, self.size
        memory, n, m = s[..., H:].split([H * D, H, N], -1)
        return memory.unflatten(-1, (N, D, D)), n.unflatten(-1, (N, D)), m[..., None]
