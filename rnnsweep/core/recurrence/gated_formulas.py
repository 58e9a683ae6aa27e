"""One step of the plain gated cells, entry by entry: what fused loops of a GPU are made of, see `step_formulas`."""

from __future__ import annotations

from typing import ClassVar

from rnnsweep.core.recurrence.step_formulas import Blocks, Operations, Own, StepFormulas, sigmoid


class LstmStep(StepFormulas):
    """s = [h, c], x = [i, f, g, o]; c <- sigmoid(f) c + sigmoid(i) tanh(g), h <- sigmoid(o) tanh(c).

    References:
        `gated_cells.LstmCell`.
    """

    inputs = 4
    states = 2
    kept = 5

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """[h, c]; i, f, g, o and tanh(c)."""
        del own
        i, f, new, out = sigmoid(o, x[0]), sigmoid(o, x[1]), o.tanh(x[2]), sigmoid(o, x[3])
        c = f * s[1] + i * new
        seen = o.tanh(c)
        return (out * seen, c), (i, f, new, out, seen)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """Closed form."""
        del own
        i, f, new, out, seen = kept
        # c reaches the loss twice: handed on, and through h.
        gc = g[1] + g[0] * out * (1 - seen * seen)
        into = (
            gc * new * (i * (1 - i)),
            gc * s[1] * (f * (1 - f)),
            gc * i * (1 - new * new),
            g[0] * seen * (out * (1 - out)),
        )
        # h_{t-1} acts through x alone.
        return into, (o.zero(s[0]), gc * f), ()


class GruStep(StepFormulas):
    """s = h, x = [r, z, a_n, d_n]: the candidate's product and its drive apart; n = tanh(d_n + r (a_n + b_n)).

    References:
        `gated_cells.GruCell`.
    """

    inputs = 4
    kept = 4
    own = ("b_n",)
    trained = ("b_n",)
    made: ClassVar[int] = 3
    """Leading blocks of x that the matrix makes."""
    drives: ClassVar[tuple[int, ...]] = (0, 1, -1, 2)
    """Of each block of x the block of drives that enters it; -1: none."""

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """h; r, z, n and h U_n + b_n."""
        r, z, inner = sigmoid(o, x[0]), sigmoid(o, x[1]), x[2] + own["b_n"]
        n = o.tanh(x[3] + r * inner)
        return (n + z * (s[0] - n),), (r, z, n, inner)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """Closed form."""
        del o, own
        r, z, n, inner = kept
        back = g[0] * z
        dn = (g[0] - back) * (1 - n * n)
        inside = dn * r
        return (dn * inner * (r * (1 - r)), back * (s[0] - n) * (1 - z), inside, dn), (back,), (inside,)
