"""Units check themselves: build them at the base point and at the corners of the space. Needs torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rnnsweep.app.config.checks import UNIT_GROUPS
from rnnsweep.app.config.point import Variant, resolve_point
from rnnsweep.core.build import build_units
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import build_unit, load_class
from rnnsweep.sweep.plan import Objective, SweepPlan
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.unit import Metric

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
                raise _blamed(error, corner) from error.__cause__
    for index, point in enumerate(plan.enqueue):
        try:
            build_units(resolve_point(variants, point), families)
        except ConfigError as error:
            key = f"sampler.enqueue.{index}"
            raise ConfigError(
                error.problem, key=key, value=dict(point), allowed=error.allowed, file=error.file
            ) from error.__cause__


def worst_of(variants: Sequence[Variant]) -> dict[str, float]:
    """What a diverged replica scores, by metric: the largest value of the variants' tasks, where all have one."""
    each = [build_units(resolve_point([variant], variant.groups)).task.worst for variant in variants]
    return {key: max(worst[key] for worst in each) for key in each[0] if all(key in worst for worst in each)}


def chance_of(variants: Sequence[Variant], space: Space, metric: str) -> float | None:
    """What a network that ignores its input scores at best; None where trials differ in that, or it is not known."""
    tasks = Space(tuple(dimension for dimension in space if _unit_of(dimension.key) == "task"))
    levels = [
        build_unit(resolve_point([variant], {**variant.groups, **corner})["task"], "task", Task).chance.get(metric)
        for variant in variants
        for corner in ({}, *_corners(variant, tasks))
    ]
    known = [level for level in levels if level is not None]
    same = len(known) == len(levels) and math.isclose(min(known), max(known), rel_tol=1e-9)
    return known[0] if same else None


def unit_metrics(variants: Sequence[Variant]) -> list[dict[str, Metric]]:
    """Metrics that the units of each variant declare."""
    return [_declared(variant, lambda group: True) for variant in variants]


def metrics_of(variants: Sequence[Variant]) -> dict[str, Metric]:
    """All metrics of a sweep's trials.

    A metric of a task is among them only where every variant's task has it: a trial gets a stand-in for what it never
    reported, and 0 would look like the best of losses.
    """
    shared = [_declared(variant, lambda group: group == "task") for variant in variants]
    others = [_declared(variant, lambda group: group != "task") for variant in variants]
    tasks = {key: metric for key, metric in shared[0].items() if all(key in each for each in shared)}
    return {**METRICS, **tasks, **{key: metric for each in others for key, metric in each.items()}}


def _declared(variant: Variant, wanted: Callable[[str], bool]) -> dict[str, Metric]:
    """What a variant's units declare, asked of their classes: a unit that cannot be made any more still says it."""
    config = {group: block for group, block in variant.resolved.items() if wanted(group)}
    blocks = {group: config[group] for group in UNIT_GROUPS if group in config and group != "controllers"}
    blocks |= {f"controllers.{name}": block for name, block in (config.get("controllers") or {}).items() if block}
    units = [load_class(block["_target_"], place) for place, block in blocks.items()]
    return {key: metric for unit in units for key, metric in unit.metrics.items()}


def check_objectives(objectives: Sequence[Objective], variants: Sequence[Variant]) -> None:
    """Objectives must name metrics that every trial reports.

    Raises:
        ConfigError: they do not; hints at the nearest.
    """
    own = unit_metrics(variants)
    known = [key for key in (*METRICS, *own[0]) if key in METRICS or all(key in each for each in own)]
    known.remove("objective")
    for index, objective in enumerate(objectives):
        if objective.metric in known:
            continue
        key = f"objective.{index}.metric" if len(objectives) > 1 else "objective.metric"
        problem, hint = "not all trials of this sweep would report it", nearest(objective.metric, known)
        raise ConfigError(problem, key=key, value=objective.metric, allowed=known, hint=hint)


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
