"""Independent uniform points (on each dimension's own scale)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnnsweep.adapters.optuna.cube import params_at
from rnnsweep.adapters.optuna.samplers.base import Ask, SamplerUnit


@dataclass(frozen=True)
class Random(SamplerUnit):
    """Uniform in the unit cube; knows nothing of results, so a resumed sweep is the undisturbed one."""

    several_objectives: ClassVar[bool] = True

    def propose(self, ask: Ask) -> dict[str, Any]:
        """The trial's own point."""
        return params_at(ask.space, np.random.default_rng(ask.seed).random(len(ask.space)))
