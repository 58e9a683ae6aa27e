"""Population based bandits: a model says where to go on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rnnsweep.adapters.scipy.varying_gp import UpperConfidence, fitted
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.schedulers.moves import drawn, nearest_to, uniform
from rnnsweep.sweep.schedulers.population import Generation, PopulationUnit
from rnnsweep.sweep.space import Dimension
from rnnsweep.unit import Range

if TYPE_CHECKING:
    from rnnsweep.adapters.scipy.varying_gp import Array


@dataclass(frozen=True)
class Pb2(PopulationUnit):
    """The worst members take over the state of the best, and go on where a model of the gain per generation says.

    The model knows, of every generation that a member has been through: its values, the loss that its state had at the
    begin, the time, and by how much the loss fell. Numbers are chosen by it; searched choices stay the source's.

    Attributes:
        candidates: points per member of which the one with the largest upper confidence bound is taken.
        memory: so many newest observations are used.

    Numerics:
        In float64 by LAPACK, where the driver runs: another library may differ in the last bits. What was chosen is in
        the ledger, so no resume asks again.

    References:
        Parker-Holder, Nguyen, Roberts (2020), *Provably Efficient Online Hyperparameter Optimization with Population-
        Based Bandits*, algorithm 1. Ours differs as `Pbt` does.
    """

    candidates: int = 512
    memory: int = 256

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        **PopulationUnit.fixed,
        "candidates": Range(16, 100_000, integer=True),
        "memory": Range(8, 2000, integer=True),
    }

    def explore(self, plan: SweepPlan, generation: Generation, pairs: Sequence[tuple[int, int]]) -> list[Params]:
        """See `PopulationUnit.explore`."""
        searched = {dimension.key: dimension for dimension in plan.space}
        dimensions = [searched[key] for key in self.keys or () if searched[key].kind != "categorical"]
        targets = {target for target, _ in pairs}
        model = self._model(generation, dimensions, [n for n in generation.members if n not in targets])
        points: list[Params] = []
        for target, source in pairs:
            there = [one for one in dimensions if one.key in generation.members[source].params]
            who = (plan.seed, "pb2", generation.rung, target)
            options = [
                {one.key: drawn(one, uniform(*who, one.key, index)) for one in there}
                for index in range(self.candidates if model is not None else 1)
            ]
            points.append(options[0 if model is None else model.best(options, generation.losses[source])])
        return points

    def _model(self, generation: Generation, dimensions: Sequence[Dimension], going: Sequence[int]) -> _Model | None:
        """What the population has learnt; None before any member has been through a generation."""
        observed = observations(generation)[-self.memory :]
        if len(observed) < 2 or not dimensions:
            return None
        return _Model(observed, generation, dimensions, going)


@dataclass(frozen=True)
class Observation:
    """One member over one generation.

    Attributes:
        time: of its end, in generations. params: what it was trained with.
        before: loss of its state at the begin. gain: by how much that fell.
    """

    time: int
    params: Params
    before: float
    gain: float


def observations(generation: Generation) -> list[Observation]:
    """Of all generations up to this one, oldest first."""
    found: list[Observation] = []
    chain = [*generation.history, generation]
    for time, (earlier, later) in enumerate(itertools.pairwise(chain), 1):
        for number, at in later.members.items():
            if at.diverged:
                continue
            # it went on from another one's state, unless that fell away: then it has the point that it had
            source, point = earlier.origins.get(number, (number, None))
            begun = source if point is None or dict(point) == dict(at.params) else number
            if begun in earlier.losses:
                before = earlier.losses[begun]
                found.append(Observation(time, at.params, before, before - later.losses[number]))
    return found


class _Model:
    """The process over (values, loss at the begin), all in unit ranges."""

    def __init__(
        self,
        observed: Sequence[Observation],
        generation: Generation,
        dimensions: Sequence[Dimension],
        going: Sequence[int],
    ) -> None:
        import numpy as np

        self._dimensions, self._now = dimensions, len(generation.history) + 1
        losses = [one.before for one in observed] + list(generation.losses.values())
        self._low, self._span = min(losses), (max(losses) - min(losses)) or 1.0
        seen = self._inputs([(one.params, one.before) for one in observed])
        times = np.array([float(one.time) for one in observed])
        gains = np.array([one.gain for one in observed])
        values = (gains - gains.mean()) / (gains.std() or 1.0)
        self._bound = UpperConfidence(fitted((seen, times), values), (seen, times), values)
        if going:
            points = [(generation.members[number].params, generation.losses[number]) for number in going]
            self._bound.try_out(self._inputs(points), np.full(len(points), float(self._now)))

    def best(self, options: Sequence[Params], before: float) -> int:
        """Index of the option that promises most, for a state with this loss."""
        import numpy as np

        inputs = self._inputs([(point, before) for point in options])
        return self._bound.pick(inputs, np.full(len(options), float(self._now)))

    def _inputs(self, points: Sequence[tuple[Params, float]]) -> Array:
        import numpy as np

        rows = [
            [*(unit_value(one, params.get(one.key)) for one in self._dimensions), (loss - self._low) / self._span]
            for params, loss in points
        ]
        return np.array(rows, dtype=np.float64)


def unit_value(dimension: Dimension, value: Any) -> float:
    """Where a value stands within its range, in [0, 1] on the range's own scale; one half where it has none.

    Example:
        >>> unit_value(Dimension("a", "float", 0.01, 1.0, log=True), 0.1)
        0.5
    """
    assert dimension.low is not None and dimension.high is not None
    if value is None or dimension.low == dimension.high:
        return 0.5
    low, high, at = dimension.low, dimension.high, float(nearest_to(dimension, float(value)))  # type: ignore[arg-type]
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)
