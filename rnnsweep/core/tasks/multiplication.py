"""Multiplication: the product of two marked values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.tasks.marked import MarkedTask


@dataclass(frozen=True)
class Multiplication(MarkedTask):
    """Two values are marked; wanted at the last step is their product. Sequences are those of `adding`.

    ``pascanu``: values U(0, 1), random lengths. ``chernodub``: values U(-1, 1), T steps.

    Numerics:
        Values have 24 bits and are exact in float32; the target is rounded once.

    References:
        Pascanu, Mikolov, Bengio (2013) and their scripts; Chernodub, Nowicki (2016).

    Example:
        >>> round(Multiplication(length=100).chance_error, 3)
        0.233
    """

    fixed: ClassVar = {**MarkedTask.fixed, "variant": ("pascanu", "chernodub")}
    tolerance: ClassVar[float] = 0.04

    def combine(self, first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Product."""
        return first * second

    @property
    def chance_loss(self) -> float:
        """Variance of the target: 1/9 - 1/16 (pascanu), 1/9 (chernodub)."""
        return 7 / 144 if self.variant == "pascanu" else 1 / 9

    @property
    def chance_error(self) -> float:
        """Error of the best constant.

        The density of |product| falls from 0 on, and P(|product| <= s) = s (1 - ln s). ``pascanu``: the constant is the
        half width w, right for 0..2w; ``chernodub``: it is 0, right for -w..w.
        """
        reach = self.half_width * (2 if self.variant == "pascanu" else 1)
        return 1 - reach * (1 - math.log(reach))
