"""One step of the gated cells, entry by entry, see `step_formulas`: those of LSTM and GRU have loops on a GPU alone.

As `step_formulas` part of what compiled code is made of, without torch or LLVM.
"""

from __future__ import annotations

from rnnsweep.core.recurrence.step_formulas import Block, Blocks, Operations, Own, StepFormulas, sigmoid


class LstmStep(StepFormulas):
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


class GruStep(StepFormulas):
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


class GatedIncrement(StepFormulas):
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


class LongMemory(StepFormulas):
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


class SharedGates(StepFormulas):
    """x = [f, i, n]; h <- k h + (1 - k) n, k = sigmoid(f) / (sigmoid(f) + sigmoid(i)).

    With sigmoid(x) = e^min(x, 0) / (1 + e^-|x|) all that counts for k is by how much the two exponents differ: both
    gates may be closed without 0 / 0.
    """

    inputs = 3
    kept = 4
    made = 0
    drives = (0, 1, 2)

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """h; k, how far both gates are closed (sigmoids of -f and -i), and the candidate."""
        del own
        f, i, n = x
        small_f, small_i = o.exp(-_size(o, f)), o.exp(-_size(o, i))
        apart = _at_most_zero(o, f) - _at_most_zero(o, i)
        smaller = o.exp(-_size(o, apart))
        # each sigmoid times both divisors, by the larger exponential
        by_f, by_i = 1 + small_i, 1 + small_f
        by_f, by_i = o.where_positive(apart, by_f, smaller * by_f), o.where_positive(-apart, by_i, smaller * by_i)
        k = by_f / (by_f + by_i)
        return (n + k * (s[0] - n),), (k, _closed(o, f, small_f), _closed(o, i, small_i), n)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """Of the logarithm of k / (1 - k): sigmoid(-f) for f, and for i that with the other sign."""
        del o, own
        k, closed_f, closed_i, n = kept
        back = k * g[0]
        dk = back * (s[0] - n) * (1 - k)
        return (dk * closed_f, -(dk * closed_i), g[0] - back), (back,), ()


class ScalarMemory(StepFormulas):
    """s = [h, c, n, m], x = [i, f, z, o]; xLSTM's exponential gates, stabilised: see `exponential_gates`.

        m <- max(log f + m, i)        f' = exp(log f + m - m_t)        i' = exp(i - m_t)
        c <- f' c + i' tanh(z)        n <- f' n + i'        h = sigmoid(o) c / n

    Here f is a sigmoid. Where n is 0 nothing is kept yet, and i stands for log f + m: an exponent of what was there
    could overflow.
    """

    inputs = 4
    states = 4
    kept = 5
    made = 4
    drives = (0, 1, 2, 3)

    def log_forget(self, o: Operations, f: Block) -> tuple[Block, Block]:
        """log f and its slope, of the pre-activation."""
        small = o.exp(-_size(o, f))
        return _at_most_zero(o, f) - o.log1p(small), _closed(o, f, small)

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """[h, c, n, m]; f', i', tanh(z), sigmoid(o) and the slope of log f."""
        del own
        i, (_, c, n, m) = x[0], s
        log_f, slope = self.log_forget(o, x[1])
        carried = _where_zero(o, n, i, log_f + m)
        m = o.where_positive(carried - i, carried, i)
        # both exponentials, though one of them is 1: so an infinite gate is not lost, it becomes NaN
        keep, write = o.exp(carried - m), o.exp(i - m)
        z, out = o.tanh(x[2]), sigmoid(o, x[3])
        c, n = keep * c + write * z, keep * n + write
        return (out * (c / n), c, n, m), (keep, write, z, out, slope)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """Exact derivatives of the step, m's too; what goes through m cancels in the end."""
        del own
        (keep, write, z, out, slope), (_, c, n, _) = kept, s
        # n_t, which is 0 in a step alone that a sequence has not begun with: nothing is kept there, and no error comes
        divisor = _where_zero(o, keep * n + write, 1.0, keep * n + write)
        y, to_y = (keep * c + write * z) / divisor, g[0] * out / divisor
        gc, gn = g[1] + to_y, g[2] - to_y * y
        # of the logarithms of f' and i'
        to_keep, to_write = (gc * c + gn * n) * keep, (gc * z + gn) * write
        through, written = g[3] - to_keep - to_write, write - keep
        # The larger exponent is m itself, and its weight is 1; equal ones count as the carried one's.
        carried = to_keep + o.where_positive(written, 0.0, through)
        of_i = to_write + o.where_positive(written, through, 0.0)
        # The first step has i in the place of what is carried.
        of_i, carried = _where_zero(o, n, of_i + carried, of_i), _where_zero(o, n, 0.0, carried)
        gates = (of_i, carried * slope, gc * write * (1 - z * z), g[0] * y * out * (1 - out))
        # h_{t-1} acts through x alone.
        return gates, (o.zero(c), keep * gc, keep * gn, carried), ()


class ExponentialForget(ScalarMemory):
    """The same with an exponential f: its pre-activation is log f."""

    def log_forget(self, o: Operations, f: Block) -> tuple[Block, Block]:
        """f, and 1."""
        return f, o.zero(f) + 1


def _size(o: Operations, x: Block) -> Block:
    """|x|."""
    return o.where_positive(x, x, -x)


def _at_most_zero(o: Operations, x: Block) -> Block:
    """min(x, 0)."""
    return o.where_positive(x, 0.0, x)


def _closed(o: Operations, x: Block, small: Block) -> Block:
    """sigmoid(-x), of x and e^-|x|."""
    return o.where_positive(x, small, 1.0) / (1 + small)


def _where_zero(o: Operations, of: Block, yes: Block | float, no: Block) -> Block:
    """`yes` where `of` is 0 or NaN, else `no`."""
    return o.where_positive(of, no, o.where_positive(-of, no, yes))
