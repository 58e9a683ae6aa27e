"""How a weight falls over training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.errors import ConfigError, nearest
from rnnsweep.unit import Range, Unit


@dataclass(frozen=True)
class Schedule(Unit):
    """Factor on a weight at each update.

    Attributes:
        kind: ``constant``; ``inverse``: 1/t; ``half_inverse``: 1/(2t).
        unit: what t counts, from 1: ``update``, refused ones included, or ``epoch``.
        epoch: updates per epoch; whole, >= 1.

    Numerics:
        Formed in float64 and rounded once. ``constant`` multiplies nothing.

    References:
        Pascanu, Mikolov, Bengio (2013), supplement: 1/t and 1/(2t) on natural data.
    """

    kind: str = "constant"
    unit: str = "update"
    epoch: int = 1

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "kind": ("constant", "inverse", "half_inverse"),
        "unit": ("update", "epoch"),
        "epoch": Range(1, integer=True),
    }

    def at(self, weight: Float[Tensor, " P"], step: Int64[Tensor, " P"]) -> Float[Tensor, " P"]:
        """The weights [P] at the update that follows `step` [P] updates."""
        if self.kind == "constant":
            return weight
        length = self.epoch if self.unit == "epoch" else 1
        # t counts from 1, so that the first update has the whole weight.
        t = torch.div(step, length, rounding_mode="floor").double() + 1
        return (weight.double() / (t if self.kind == "inverse" else 2 * t)).to(weight.dtype)


def schedule(given: Any, key: str) -> Schedule:
    """A schedule of its config block, or the schedule that it already is.

    Raises:
        ConfigError: no block, an unknown key, or a value that is not allowed; the key starts with `key`.
    """
    if isinstance(given, Schedule):
        return given
    fields = Schedule.fields()
    if not isinstance(given, Mapping):
        raise ConfigError("is no schedule", key=key, value=given, allowed=f"a block with {', '.join(fields)}")
    for name in given:
        if name not in fields:
            raise ConfigError("unknown key", key=f"{key}.{name}", allowed=fields, hint=nearest(str(name), fields))
    try:
        return Schedule(**given)
    except ConfigError as error:
        # A schedule does not know where in the config it stands.
        raise ConfigError(
            error.problem, key=f"{key}.{error.key}", value=error.value, allowed=error.allowed, hint=error.hint
        ) from None
