"""One step of the simple cell, entry by entry: h <- (1 - leak) h + leak f(x). Formulas: `core.activations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.gpu.source import Code, Value

FUSED = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity", "modrelu", "oplu")
"""Names of the activations that are known."""

Blocks = Sequence[Value]
Own = Mapping[str, Value]


class SimpleStep:
    """As `step_formulas.StepFormulas`, of one block; the way back also sees the state after the step.

    Attributes:
        paired: OPLU: a step also sees x of the pair's other unit, and which of the two this is (1: the second); the way
            back sees the other's error.
        kept: 1 where the slope does not follow from the state after the step. own: ``leak``, ``act_bias``.
    """

    inputs = 1
    states = 1

    def __init__(self, activation: Activation, leaky: bool) -> None:
        self.name, self.leaky, self.paired = activation.name, leaky, activation.paired
        self.kept = int(leaky or not activation.from_output)
        self.trained = ("act_bias",) if activation.has_bias else ()
        self.own = (*(("leak",) if leaky else ()), *self.trained)

    def step(self, o: Code, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """h, and f'(x) where it is kept."""
        y, slope = self._pair(o, x) if self.paired else self._one(o, x[0], own)
        kept = (slope,) if self.kept else ()
        if self.leaky:
            y = (1 - own["leak"]) * s[0] + own["leak"] * y
        return (y,), kept

    def pull_from(
        self, o: Code, kept: Blocks, s: Blocks, after: Blocks, own: Own, g: Blocks
    ) -> tuple[Blocks, Blocks, Blocks]:
        """From g = dC/dh_t to (dC/dx, dC/dh_{t-1} without the way through x, dC/dact_bias)."""
        slope = kept[0] if self.kept else self._slope(o, after[0], after[0], own)
        scaled = own["leak"] * g[0] if self.leaky else g[0]
        if self.paired:
            mate = own["leak"] * g[1] if self.leaky else g[1]
            return (o.where_positive(slope, mate, scaled),), (self.passed(o, g[0], own),), ()
        down: Blocks = ()
        if self.trained:
            y = after[0] - (1 - own["leak"]) * s[0] if self.leaky else after[0]
            part = slope * scaled
            down = (o.where_positive(y, part, o.where_positive(-y, -part, y * part)),)
        return (slope * scaled,), (self.passed(o, g[0], own),), down

    def passed(self, o: Code, g: Value, own: Own) -> Value:
        """What goes past f."""
        return (1 - own["leak"]) * g if self.leaky else o.zero(g)

    def _one(self, o: Code, a: Value, own: Own) -> tuple[Value, Value]:
        """f(a) and f'(a)."""
        y = self._value(o, a, own)
        return y, self._slope(o, a, y, own)

    def _pair(self, o: Code, x: Blocks) -> tuple[Value, Value]:
        """OPLU of a pair, and 1 where it is swapped: strictly, of two equal ones neither moves."""
        mine, other, second = x
        first_swaps, second_swaps = o.where_positive(other - mine, 1.0, 0.0), o.where_positive(mine - other, 1.0, 0.0)
        swap = o.where_positive(second, second_swaps, first_swaps)
        return o.where_positive(swap, other, mine), swap

    def _value(self, o: Code, a: Value, own: Own) -> Value:
        match self.name:
            case "tanh":
                return o.tanh(a)
            case "sigmoid":
                return 0.5 * (1 + o.tanh(0.5 * a))
            case "relu":
                return o.where_positive(-a, 0.0, a)  # NaN stays NaN
            case "leaky_relu":
                return o.where_positive(a, a, 0.01 * a)
            case "elu":
                return o.where_positive(a, a, o.exp(o.where_positive(a, 0.0, a)) - 1)
            case "modrelu":
                size = o.size(a) + own["act_bias"]
                size = o.where_positive(-size, 0.0, size)
                return o.where_positive(a, size, o.where_positive(-a, -size, a * size))
            case _:
                return a + 0.0

    def _slope(self, o: Code, a: Value, y: Value, own: Own) -> Value:
        """f'(a) of a and y = f(a); only modReLU looks at a."""
        match self.name:
            case "tanh":
                return 1 - y * y
            case "sigmoid":
                return y * (1 - y)
            case "relu":
                return o.where_positive(y, 1.0, 0.0)
            case "leaky_relu":
                return o.where_positive(y, 1.0, 0.01)
            case "elu":
                return o.where_positive(y, 1.0, y + 1)
            case "modrelu":
                return o.where_positive(o.size(a) + own["act_bias"], 1.0, 0.0)
            case _:
                return o.named("real(1)")
