"""Population based training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Params, Scalar, SweepPlan
from rnnsweep.sweep.schedulers.moves import drawn, scaled, uniform
from rnnsweep.sweep.schedulers.population import Generation, PopulationUnit
from rnnsweep.sweep.space import Dimension
from rnnsweep.unit import SHARE, Range


@dataclass(frozen=True)
class Pbt(PopulationUnit):
    """The worst members take over the state of the best, and go on with values near to theirs.

    Attributes:
        perturb: factors, one of which each value is multiplied with; on a grid and among choices to a neighbour.
        resample: probability that a value is drawn anew from its whole range.

    Numerics:
        Values are functions of (seed, rung, trial, key): no generator is kept. They never leave range or grid.

    References:
        Jaderberg et al. (2017), *Population Based Training of Neural Networks*, arXiv:1711.09846, section 4. Ours
        differs: generations end for all members at the same rung, and take effect one rung later.
    """

    perturb: Sequence[float] = field(default=(0.8, 1.2), hash=False)
    resample: float = 0.25

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {**PopulationUnit.fixed, "resample": SHARE}

    def check(self) -> None:
        """Also the factors.

        Raises:
            ConfigError: one of them is no number above 0, or all are 1.
        """
        super().check()
        positive = Range(0, 100, open_low=True)
        good = isinstance(self.perturb, list | tuple) and all(positive.accepts(factor) for factor in self.perturb)
        if not good or all(factor == 1 for factor in self.perturb):
            allowed = "a list of factors above 0, not all of them 1"
            raise ConfigError(
                "would change nothing or leave ranges",
                key="scheduler.perturb",
                value=list(self.perturb) if good else self.perturb,
                allowed=allowed,
            )

    def explore(self, plan: SweepPlan, generation: Generation, pairs: Sequence[tuple[int, int]]) -> list[Params]:
        """See `PopulationUnit.explore`."""
        searched = {dimension.key: dimension for dimension in plan.space}
        points: list[Params] = []
        for target, source in pairs:
            params = generation.members[source].params
            keys = [key for key in self.keys or () if key in params]
            who = (plan.seed, "explore", generation.rung, target)
            points.append({key: self._near(searched[key], params[key], (*who, key)) for key in keys})
        return points

    def _near(self, dimension: Dimension, value: Scalar, who: tuple[object, ...]) -> Scalar:
        if uniform(*who, "whether") < self.resample:
            return drawn(dimension, uniform(*who, "where"))
        return scaled(dimension, value, self.perturb[int(uniform(*who, "factor") * len(self.perturb))])
