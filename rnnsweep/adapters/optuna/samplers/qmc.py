"""Scrambled Sobol sequence: the trial's number is the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rnnsweep.adapters.optuna.samplers.base import Ask, SamplerUnit


@dataclass(frozen=True)
class Qmc(SamplerUnit):
    """Quasi-random points that fill the space evenly; best balanced at powers of two.

    References:
        Owen (1998), Scrambling Sobol' and Niederreiter-Xing points; `scipy.stats.qmc.Sobol`.
    """

    several_objectives: ClassVar[bool] = True

    def propose(self, ask: Ask) -> dict[str, Any]:
        """The trial's own point."""
        return ask.sobol
