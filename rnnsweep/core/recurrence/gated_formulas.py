"""One step of the plain gated cells, entry by entry: what fused loops of a GPU are made of, see `step_formulas`."""

from __future__ import annotations

from typing import ClassVar

from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.continuous import GatedIncrementCell
from rnnsweep.core.recurrence.gated_cells import GruCell, LongMemoryCell, LstmCell
from rnnsweep.core.recurrence.step_formulas import Block, Blocks, Operations, Own, StepFormulas, sigmoid


class GatedStep(StepFormulas):
    """Base: how product and drives make x.

    Attributes:
        made: leading blocks of x that the matrix makes.
        drives: of each block of x the block of drives that enters it; -1: none.
    """

    made: ClassVar[int]
    drives: ClassVar[tuple[int, ...]]


class LstmStep(GatedStep):
    """s = [h, c], x = [i, f, g, o]; c <- sigmoid(f) c + sigmoid(i) tanh(g), h <- sigmoid(o) tanh(c).

    References:
        `gated_cells.LstmCell`.
    """

    inputs = 4
    states = 2
    kept = 5
    made = 4
    drives = (0, 1, 2, 3)

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


class GruStep(GatedStep):
    """s = h, x = [r, z, a_n, d_n]: the candidate's product and its drive apart; n = tanh(d_n + r (a_n + b_n)).

    References:
        `gated_cells.GruCell`.
    """

    inputs = 4
    kept = 4
    own = ("b_n",)
    trained = ("b_n",)
    made = 3
    drives = (0, 1, -1, 2)

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


class GatedIncrementStep(GatedStep):
    """x = [a, d_z, d_n]; h <- h + step sigmoid(a + d_z) tanh(a + d_n): gate and increment share one product.

    References:
        `continuous.GatedIncrementCell`.
    """

    inputs = 3
    kept = 2
    own = ("step",)
    made = 1
    drives = (-1, 0, 1)

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """h; gate and tanh."""
        z, f = sigmoid(o, x[0] + x[1]), o.tanh(x[0] + x[2])
        return (s[0] + own["step"] * z * f,), (z, f)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """The step size is not trained."""
        del o, s
        z, f = kept
        both = own["step"] * g[0] * z
        dz, df = both * f * (1 - z), both * (1 - f * f)
        return (dz + df, dz, df), g, ()


class LongMemoryStep(GatedStep):
    """s = [y, z], x = [t_1, t_2, a_z + d_z, d_y]; W_y reads the new z.

    References:
        `gated_cells.LongMemoryCell`.
    """

    inputs = 4
    states = 2
    kept = 4
    own = ("dt",)
    matrix = "w_y"
    turned = False
    made = 3
    drives = (0, 1, 2, 3)

    def read(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> Block:
        """The new z."""
        return s[1] + own["dt"] * sigmoid(o, x[0]) * (o.tanh(x[2]) - s[1])

    def read_again(self, o: Operations, kept: Blocks, s: Blocks, own: Own) -> Block:
        """Of gate and candidate."""
        del o
        return s[1] + own["dt"] * kept[0] * (kept[2] - s[1])

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """[y, z]; both sigmoids and both candidates."""
        first, second, new_z = sigmoid(o, x[0]), sigmoid(o, x[1]), o.tanh(x[2])
        z = s[1] + own["dt"] * first * (new_z - s[1])
        new_y = o.tanh(x[4] + x[3])
        return (s[0] + own["dt"] * second * (new_y - s[0]), z), (first, second, new_z, new_y)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """Without what comes to z through W_y; dt is not trained."""
        del o
        _, second, _, new_y = kept
        (y, z), dt = s, own["dt"]
        to_y = dt * second * g[0]
        d_y = to_y * (1 - new_y * new_y)
        (of_first, d_z), past_z = self._of_z(kept, z, dt, g[1])
        return (of_first, to_y * (new_y - y) * (1 - second), d_z, d_y, d_y), (g[0] - to_y, past_z), ()

    def pull_read(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Block) -> tuple[Blocks, Blocks]:
        """The error of z is a sum, and all that is made of it is linear."""
        (of_first, d_z), past_z = self._of_z(kept, s[1], own["dt"], g)
        return (of_first, o.zero(g), d_z), (o.zero(g), past_z)

    def _of_z(self, kept: Blocks, z: Block, dt: Block, g: Block) -> tuple[tuple[Block, Block], Block]:
        """From an error of the new z to those of its step size and candidate, and of the old z."""
        first, _, new_z, _ = kept
        to_z = dt * first * g
        return (to_z * (new_z - z) * (1 - first), to_z * (1 - new_z * new_z)), g - to_z


STEPS: dict[type[Cell], GatedStep] = {
    LstmCell: LstmStep(),
    GruCell: GruStep(),
    GatedIncrementCell: GatedIncrementStep(),
    LongMemoryCell: LongMemoryStep(),
}
"""Of exactly these cells: a subclass may compute something else."""
