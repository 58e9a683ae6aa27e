"""Adding: the mean (or sum) of two marked values (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.tasks.marked import MarkedTask


@dataclass(frozen=True)
class Adding(MarkedTask):
    """Two values are marked; wanted at the last step is their mean (``urnn``: their sum).

    ``pascanu``: values U(0, 1), l = T + U{0..int(.1 T) - 1} steps per mini-batch, markers at U{0..int(.1 l) - 1} and
    int(.1 l) + U{0..int(.4 l) - 1}.
    ``chernodub``: values U(-1, 1), T steps, T~ = ceil(1.1 T), 1-based markers in [1, T~/10] and [T~/10 + 1, T~/2], ends
    rounded (halves up).
    ``urnn``: values U(0, 1), T steps, one marker in each half (the first int(T / 2) steps, the rest).

    Numerics:
        Values have 24 bits and are exact in float32; the target is rounded once.

    References:
        Pascanu, Mikolov, Bengio (2013) and their scripts; Chernodub, Nowicki (2016); Arjovsky, Shah, Bengio (2016).

    Example:
        >>> Adding(length=100).max_length, Adding(length=100, variant="urnn").max_length
        (109, 100)
    """

    fixed: ClassVar = {**MarkedTask.fixed, "variant": ("pascanu", "chernodub", "urnn")}
    tolerance: ClassVar[float] = 0.08

    @property
    def least(self) -> int:
        """Smallest length for which both markers have a choice; ``urnn``: 2, one step per half."""
        return 2 if self.variant == "urnn" else 10

    def combine(self, first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Mean, or sum for ``urnn``."""
        total = first + second
        return total if self.variant == "urnn" else 0.5 * total

    @property
    def chance_loss(self) -> float:
        """Variance of the target: 1/24 (mean of U(0, 1)), 1/6 (others)."""
        return 1 / 24 if self.variant == "pascanu" else 1 / 6

    @property
    def chance_error(self) -> float:
        """Error of the centre of the target's triangular density, which reaches .5 (pascanu) or 1 to both sides."""
        reach = 0.5 if self.variant == "pascanu" else 1.0
        return (1 - self.half_width / reach) ** 2
