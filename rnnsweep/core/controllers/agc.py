"""Adaptive gradient clipping: each unit's gradient against the norm of its own weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.controllers.base import CLIPPED, Context, Transform, Transformed
from rnnsweep.core.types import READ_OUT, ParameterLayout, ParameterSpec
from rnnsweep.unit import POSITIVE, Metric, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.learners.base import Learner

_SMALLEST_WEIGHT = 1e-3
_SMALLEST_GRADIENT = 1e-6
_INCOMING = ("input", "recurrent", "bias")


@dataclass(frozen=True)
class Agc(Transform):
    """Limit |gradient| / |weights| of every unit.

        m = ratio * max(|w|, 1e-3)        if |g| > m:  g <- g m / max(|g|, 1e-6)

    A unit is a column W[:, to]: the columns of all input and recurrent weights that lead into it, with its bias
    (`ParameterSpec.into`). A parameter of another role (the skew matrix of an orthogonal network, an initial state)
    forms units of its own, by column, a vector as one. The read-out is left alone.

    Attributes:
        ratio: largest |g| / |w| per unit, per row; > 0, inf is off, bit for bit.

    Numerics:
        Squares and their sums in float64: no overflow below 1e154; beyond it a unit's gradient becomes 0. A row with a
        non-finite gradient is dropped.

    References:
        Brock, De, Smith, Simonyan (2021), eq. 3: ratio .01, weight floor 1e-3. Ours differs: weights are W[from, to],
        and a unit's weight matrices and bias count together.
    """

    ratio: float = 0.01

    metrics: ClassVar[Mapping[str, Metric]] = CLIPPED
    rows: ClassVar[Mapping[str, Range]] = {"ratio": POSITIVE}

    def idle_beside(self, family: Family, learner: Learner, specs: Sequence[ParameterSpec]) -> str | None:
        """Also where all but the read-out, which it leaves alone, stays as it was drawn."""
        if all(spec.role in ("output", "fixed") or spec.name in READ_OUT for spec in specs):
            return f"it leaves the read-out alone, and {family.unit_name} trains nothing else"
        return super().idle_beside(family, learner, specs)

    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """See `Transform.transform`."""
        ratio = context.hypers["ratio"].double()[:, None]
        # A copy: its views are scaled in place.
        gradients = context.gradients.clone()
        parts = context.layout.view(gradients)
        clipped = torch.zeros_like(norm, dtype=torch.bool)
        for group in units_of(context.layout):
            # The floor lets weights that start at 0 grow at all.
            weight = sum_squares(group, context.values).sqrt().clamp_min(_SMALLEST_WEIGHT)
            size = sum_squares(group, parts).sqrt()
            over = size > ratio * weight
            factor = torch.where(over, ratio * weight / size.clamp_min(_SMALLEST_GRADIENT), torch.ones_like(size))
            for spec in group:
                part, own = parts[spec.name], factor if _is_lone_vector(group) else factor[:, _columns(spec)]
                # P 1 ... 1 units: every row of W[from, to] has the same columns.
                part.mul_(own.reshape(len(part), *(1 for _ in spec.shape[:-1]), -1).to(part.dtype))
            clipped |= over.any(1)
        context.tally.mean("clip/share", clipped & torch.isfinite(norm))  # a row that is dropped is not clipped
        return Transformed(gradients, drop=~torch.isfinite(norm))


def units_of(layout: ParameterLayout) -> list[list[ParameterSpec]]:
    """Parameters whose columns belong to the same units, group by group; the read-out is left out."""
    groups: dict[str, list[ParameterSpec]] = {}
    for spec in layout.specs:
        # No inputs, no entries: there is nothing to take a norm of.
        if spec.name not in READ_OUT and spec.role != "output" and spec.size:
            key = f"into {spec.into}" if spec.role in _INCOMING else spec.name
            groups.setdefault(key, []).append(spec)
    return list(groups.values())


def sum_squares(group: list[ParameterSpec], values: Mapping[str, Float[Tensor, "P ..."]]) -> Float64[Tensor, "P units"]:
    """Sum of squares of each unit, float64 [P, units]; a vector by itself is one unit."""
    if _is_lone_vector(group):
        # P K 1: the sum over the middle axis takes all entries as one unit.
        return numerics.row_sum(values[group[0].name].double().square()[:, :, None])
    width = max(spec.first + spec.shape[-1] for spec in group)
    rows = values[group[0].name]
    total = torch.zeros(len(rows), width, dtype=torch.float64, device=rows.device)
    for spec in group:
        squares = values[spec.name].double().square()
        # `row_sum`: one fixed order per row, whoever is beside it.
        total[:, _columns(spec)] += numerics.row_sum(squares.reshape(len(squares), -1, spec.shape[-1]))
    return total


def _columns(spec: ParameterSpec) -> slice:
    """Which of its group's units a parameter's columns lead into."""
    return slice(spec.first, spec.first + spec.shape[-1])


def _is_lone_vector(group: list[ParameterSpec]) -> bool:
    return len(group) == 1 and len(group[0].shape) == 1
