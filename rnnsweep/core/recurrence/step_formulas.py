"""What one step of a cell does, entry by entry: written once, for the reference's tensors and for fused loops' vectors.

A step sees blocks of U entries each: pre-activations x = a + d, of the matrix's product and of the drives; the state s
before it; the cell's own parameters. What it does to entry j of its blocks it does to entry j alone, so that the same
lines run on whole tensors (`recurrence.described_cells`) and on the vectors of a kernel (`cpu.emit.cell_steps`), which
are compiled from them: this file is part of what the compiled code is made of, and imports neither torch nor LLVM.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

Block = Any
"""U entries of each sample: a tensor [P, B, U], or a vector of a kernel; + - * / with each other and with numbers."""
Blocks = tuple[Block, ...]
Own = Mapping[str, Block]


class Operations(Protocol):
    """What blocks can do besides arithmetic."""

    def tanh(self, x: Block) -> Block:
        """Hyperbolic tangent."""
        ...

    def root(self, x: Block) -> Block:
        """Square root."""
        ...

    def where_positive(self, of: Block, yes: Block, no: Block | float) -> Block:
        """`yes` where `of` > 0, else `no`, also where it is NaN."""
        ...


class StepFormulas(ABC):
    """One step of a cell, and its way back.

    Attributes:
        inputs, states, kept: blocks of x, of s, and of what the way back wants to see again.
        driven: the first block of x that has a drive; those before it are of the product alone.
        own: names of the cell's own parameters: vectors of U entries, or single numbers, spread.
        trained: those that `pull` has gradients for; the others' are 0.
    """

    inputs: ClassVar[int] = 1
    states: ClassVar[int] = 1
    kept: ClassVar[int] = 1
    driven: ClassVar[int] = 0
    own: ClassVar[tuple[str, ...]] = ()
    trained: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """(The next state, what is kept)."""

    @abstractmethod
    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """From g = dC/ds_t to (dC/dx, dC/ds_{t-1} without the way through x, dC/d`trained` of each sample)."""


class Oscillation(StepFormulas):
    """s = [y, z]; z <- z + dt (tanh(x) - gamma y - epsilon z), y <- y + dt z."""

    states = 2
    own = ("dt", "gamma", "epsilon")

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """[y, z], and the force."""
        (y, z), dt = s, own["dt"]
        force = o.tanh(x[0])
        # y takes the new z, as in the authors' code: implicit and explicit in turn, not plain Euler.
        z = z + dt * (force - own["gamma"] * y - own["epsilon"] * z)
        return (y + dt * z, z), (force,)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """dt, gamma and epsilon are not trained."""
        del o, s
        (force,), dt = kept, own["dt"]
        # y_t contains dt z_t, so that z's error gets dt times y's.
        gz = g[1] + dt * g[0]
        dx = dt * gz * (1 - force * force)
        # gamma y and epsilon z both act on z_t: both errors come from gz.
        return (dx,), (g[0] - dt * own["gamma"] * gz, gz - dt * own["epsilon"] * gz), ()


class LipschitzIncrement(StepFormulas):
    """x = [h A, h W + d]; h <- h + step (h A + tanh(h W + d))."""

    inputs = 2
    driven = 1
    own = ("step",)

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """h, and the tanh."""
        f = o.tanh(x[1])
        return (s[0] + own["step"] * (x[0] + f),), (f,)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """The step size is not trained."""
        del o, s
        linear = own["step"] * g[0]
        return (linear, linear * (1 - kept[0] * kept[0])), g, ()


class Increment(StepFormulas):
    """h <- h + step tanh(x)."""

    own = ("step",)

    def step(self, o: Operations, x: Blocks, s: Blocks, own: Own) -> tuple[Blocks, Blocks]:
        """h, and the tanh."""
        f = o.tanh(x[0])
        return (s[0] + own["step"] * f,), (f,)

    def pull(self, o: Operations, kept: Blocks, s: Blocks, own: Own, g: Blocks) -> tuple[Blocks, Blocks, Blocks]:
        """The step size is not trained."""
        del o, s
        return (own["step"] * g[0] * (1 - kept[0] * kept[0]),), g, ()


FORMULAS: tuple[type[StepFormulas], ...] = (Oscillation, LipschitzIncrement, Increment)
"""All of them; kernels know each by its index."""
