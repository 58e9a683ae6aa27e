"""Units check themselves: build them at the base point and at the corners of the space. Needs torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rnnsweep.app.config.point import Variant, resolve_point
from rnnsweep.core.build import build_units
from rnnsweep.core.metrics.names import METRIC_KEYS, TASK_METRICS
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Objective, SweepPlan
from rnnsweep.sweep.space import Dimension, Space

_MOST = 256
"""Corners tried per unit: enough for four dimensions of four values."""


def check_units(variants: Sequence[Variant], plan: SweepPlan, families: Callable[[], Mapping[str, Any]] = dict) -> None:
    """Build all units of every variant at its base point, and each unit at all corners of what is searched in it.

    Points that are enqueued are built too.

    Args:
        variants: of the sweep.
        plan: its space and its enqueued points.
        families: see `build_units`.

    Raises:
        ConfigError: what a unit refuses; the key is the searched one where a corner is to blame.
    """
    for variant in variants:
        build_units(resolve_point([variant], variant.groups), families)
        for corner in _corners(variant, plan.space):
            try:
                build_units(resolve_point([variant], {**variant.groups, **corner}), families)
            except ConfigError as error:
                raise _blamed(error, corner) from None
    for index, point in enumerate(plan.enqueue):
        try:
            build_units(resolve_point(variants, point), families)
        except ConfigError as error:
            key = f"sampler.enqueue.{index}"
            raise ConfigError(error.problem, key=key, value=dict(point), allowed=error.allowed) from None


def chance_loss(variants: Sequence[Variant]) -> float:
    """The largest chance loss of the variants' tasks."""
    return max(task.chance_loss for task in _tasks(variants))


def derived_metrics(variants: Sequence[Variant]) -> dict[str, float]:
    """Metrics that every variant's task derives from its loss, and their share of it."""
    first, *others = (task.derived for task in _tasks(variants))
    return {key: factor for key, factor in first.items() if all(key in other for other in others)}


def check_objectives(objectives: Sequence[Objective], derived: Mapping[str, float]) -> None:
    """Objectives may name a metric that only some tasks have only where the sweep's tasks have it.

    Raises:
        ConfigError: they have not.
    """
    for index, objective in enumerate(objectives):
        if objective.metric in TASK_METRICS and objective.metric not in derived:
            key = f"objective.{index}.metric" if len(objectives) > 1 else "objective.metric"
            raise ConfigError(
                "this sweep's task does not report it",
                key=key,
                value=objective.metric,
                allowed=[known for known in METRIC_KEYS if known not in (*TASK_METRICS, "objective")],
            )


def _tasks(variants: Sequence[Variant]) -> list[Task]:
    return [build_units(resolve_point([variant], variant.groups)).task for variant in variants]


def _corners(variant: Variant, space: Space) -> Iterator[dict[str, Any]]:
    units: dict[str, list[Dimension]] = {}
    for dimension in space:
        if dimension.key not in variant.groups and _may_exist(dimension, variant):
            units.setdefault(_unit_of(dimension.key), []).append(dimension)
    for dimensions in units.values():
        corners = itertools.product(*(_ends(dimension) for dimension in dimensions))
        for values in itertools.islice(corners, _MOST):
            corner = dict(zip((dimension.key for dimension in dimensions), values, strict=True))
            yield _existing(corner, dimensions)


def _unit_of(key: str) -> str:
    """The unit that a key belongs to: ``family``, ``controllers.clip``."""
    parts = key.split(".")
    return ".".join(parts[: 2 if parts[0] == "controllers" else 1])


def _existing(corner: dict[str, Any], dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The corner without what does not exist there: searched only where another key of the unit has some value."""
    for dimension in dimensions:
        if any(key in corner and corner[key] not in values for key, values in dimension.when.items()):
            del corner[dimension.key]
    return corner


def _may_exist(dimension: Dimension, variant: Variant) -> bool:
    return all(variant.groups.get(key, values[0]) in values for key, values in dimension.when.items())


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    if dimension.kind == "categorical":
        return dimension.choices
    return (dimension.low,) if dimension.low == dimension.high else (dimension.low, dimension.high)


def _blamed(error: ConfigError, corner: dict[str, Any]) -> ConfigError:
    key = error.key if error.key in corner else next(iter(corner))
    shown = ", ".join(f"{name}={value}" for name, value in corner.items() if name != key)
    problem = f"{error.problem} at a corner of the space" + (f" ({shown})" if shown else "")
    return ConfigError(
        problem, key=f"space.{key}", value=corner[key], allowed=error.allowed, hint=error.hint, file=error.file
    )
