"""Units check themselves: build them at the base point and at the corners of the space. Needs torch."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from rnnsweep.app.config.blocks import worst_values
from rnnsweep.app.config.checks import PLAIN, UNIT_GROUPS
from rnnsweep.app.config.point import Variant, resolve_point
from rnnsweep.core.build import DTYPES, Units, build_units
from rnnsweep.core.metrics import score_names
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.core.sizes import record_entries
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import build_unit, load_class
from rnnsweep.sweep.plan import Objective, Params
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.unit import Metric, Range, Unit, as_declared, check_field

_LARGEST = 2**43
"""Bytes of memory, 8 TiB, that no worker has."""
_MOST = 256
"""Corners tried per unit: enough for four dimensions of four values."""


@dataclass(frozen=True)
class UnitFacts:
    """What is known of a sweep once its units have been built.

    Attributes:
        space: the searched dimensions; choices of whole numbers are ints.
        worst: metric key -> what a diverged replica scores.
        units: of the variants' base points.
    """

    space: Space
    worst: Mapping[str, float]
    units: Sequence[Units]


def check_units(
    variants: Sequence[Variant], space: Space, families: Callable[[], Mapping[str, Any]] = dict
) -> UnitFacts:
    """Build all units of every variant at its base point, and each unit at all corners of what is searched in it.

    Whole numbers that were written as floats become ints, in the variants and in the space.

    Args:
        variants: of the sweep.
        space: what is searched.
        families: see `build_units`.

    Raises:
        ConfigError: what a unit refuses; the key is the searched one where a corner is to blame.
    """
    # the base point first: its errors name plain keys and not corners
    base = [_built([variant], variant.groups, families) for variant in variants]
    for variant, units in zip(variants, base, strict=True):
        _write_back(variant, units)
    space = Space(tuple(_whole_dimension(dimension, base) for dimension in space))
    for variant in variants:
        # A range is refused at its ends if anywhere, so the corners are enough; better now than in the middle of a
        # sweep.
        for corner in _corners(variant, space):
            try:
                _built([variant], {**variant.groups, **corner}, families)
            except ConfigError as error:
                raise _blamed(error, corner) from error.__cause__
    each = [units.task.worst for units in base]
    # one number for the whole sweep, or a diverged trial on an easy task would beat one on a hard task
    worst = {key: max(task[key] for task in each) for key in each[0] if all(key in task for task in each)}
    worst |= score_names.worst(variants[0].resolved.get("scorers") or {})
    return UnitFacts(space, worst_values(variants[0].resolved["budget"]["updates"], worst), base)


def check_points(variants: Sequence[Variant], points: Sequence[Params]) -> None:
    """Build the units of points that are tried first.

    Raises:
        ConfigError: what a unit refuses.
    """
    for index, point in enumerate(points):
        try:
            _built(variants, point)
        except ConfigError as error:
            key = f"sampler.enqueue.{index}"
            raise ConfigError(
                error.problem, key=key, value=dict(point), allowed=error.allowed, file=error.file
            ) from error.__cause__


def _built(variants: Sequence[Variant], point: Params, families: Callable[[], Mapping[str, Any]] = dict) -> Units:
    """The units of one point, which must fit into memory."""
    resolved = resolve_point(variants, point)
    units = build_units(resolved, families)
    check_memory(units, resolved)
    return units


def check_memory(units: Units, resolved: Mapping[str, Any]) -> None:
    """One row must fit: its parameters, and what its loop and its learning rule keep of one mini-batch.

    Workers of a cluster may have more memory than this machine; what is refused then is what nothing would hold.

    Raises:
        ConfigError: it does not; names the longest sequence, or the largest mini-batch, that does.
    """
    size, batch, steps = DTYPES[resolved["dtype"]].itemsize, resolved["training"]["batch"], units.task.max_length
    # parameters and gradients, each present and proposed (see `device.row_bytes`)
    kept = 4 * size * sum(math.prod(spec.shape) for spec in units.parameters)
    step = size * record_entries(units.family, units.task, units.readout, units.embedding)
    beside = size * units.learner.entries(units.family, units.task)
    away = resolved["cluster"]["executor"] != "inline" and resolved["cluster"]["address"] is not None
    # total, not available: whether a config is accepted must not depend on what else runs
    memory = _LARGEST if away else psutil.virtual_memory().total
    for probe in units.task.probes.values():
        # evaluations at a greater length take fewer sequences at once, but at least one
        if kept + probe.max_length * step > memory:
            allowed = f"at most {max(0, memory - kept) // step} here"
            raise ConfigError("takes too much memory", key="task.eval_lengths", value=probe.max_length, allowed=allowed)
    need = kept + batch * (steps * step + beside)
    if need <= memory:
        return
    free, problem = max(0, memory - kept), f"one row takes {need / 2**30:.3g} GiB, there are {memory / 2**30:.3g} GiB"
    # blame the larger of the two factors, and only where lowering it alone would help
    if batch * (step + beside) <= free and steps >= batch:
        most = (free // batch - beside) // step
        if _sets_its_length(units.task):
            raise ConfigError(problem, key="task.length", value=steps, allowed=f"at most {most} here")
        # data decide: no key of the config makes them shorter
        problem = f"{problem}: its longest sequence has {steps} steps"
        value = getattr(units.task, "path", None) or units.task.unit_name
        key = "task.path" if hasattr(units.task, "path") else "task"
        raise ConfigError(problem, key=key, value=value, allowed=f"at most {most} steps here")
    if steps * step + beside <= free:
        key, value, most = "training.batch", batch, free // (steps * step + beside)
    else:
        widths = units.family.widths
        key, most = "family.hidden" if widths is None else "family.widths", 0
        value = getattr(units.family, "hidden", None) if widths is None else str(widths)
    raise ConfigError(problem, key=key, value=value, allowed=f"at most {most} here" if most else "less")


def _sets_its_length(task: Task) -> bool:
    """Whether `task.length` bounds its sequences."""
    return any(item.name == "length" for item in dataclasses.fields(task)) and "length" not in task.unread()


def chance_of(variants: Sequence[Variant], space: Space, metric: str) -> float | None:
    """What a network that ignores its input scores at best; None where trials differ in that, or it is not known."""
    tasks = Space(tuple(dimension for dimension in space if _unit_of(dimension.key) == "task"))
    levels = [
        build_unit(resolve_point([variant], {**variant.groups, **corner})["task"], "task", Task).chance.get(metric)
        for variant in variants
        # {} is the base point
        for corner in ({}, *_corners(variant, tasks))
    ]
    known = [level for level in levels if level is not None]
    # the same level may be computed along two ways
    same = len(known) == len(levels) and math.isclose(min(known), max(known), rel_tol=1e-9)
    return known[0] if same else None


def unit_metrics(variants: Sequence[Variant]) -> list[dict[str, Metric]]:
    """Metrics that the units of each variant declare, and those of single layers."""
    return [_of_layers(variant, METRICS) | _declared(variant, lambda group: True) for variant in variants]


def metrics_of(variants: Sequence[Variant]) -> dict[str, Metric]:
    """All metrics of a sweep's trials.

    A metric of a task is among them only where every variant's task has it: a trial gets a stand-in for what it never
    reported, and 0 would look like the best of losses.
    """
    shared = [_declared(variant, lambda group: group == "task") for variant in variants]
    others = [_declared(variant, lambda group: group != "task") for variant in variants]
    tasks = {key: metric for key, metric in shared[0].items() if all(key in each for each in shared)}
    layers = [_of_layers(variant, METRICS) for variant in variants]
    return {**METRICS, **tasks, **{key: metric for each in (*others, *layers) for key, metric in each.items()}}


def _declared(variant: Variant, wanted: Callable[[str], bool]) -> dict[str, Metric]:
    """What a variant's units declare, asked of their classes: a unit that cannot be made any more still says it."""
    config = {group: block for group, block in variant.resolved.items() if wanted(group)}
    blocks = {group: config[group] for group in UNIT_GROUPS if group in config and group != "controllers"}
    blocks |= {f"controllers.{name}": block for name, block in (config.get("controllers") or {}).items() if block}
    units = [(load_class(block["_target_"], place), block) for place, block in blocks.items()]
    declared = {key: metric for unit, block in units for key, metric in unit.declares(block).items()}
    own = declared | score_names.declared(config.get("scorers") or {})
    return own | _of_layers(variant, own)


def _of_layers(variant: Variant, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """What a network of several layers reports of each."""
    family = variant.resolved["family"]
    inner = sum(isinstance(block, Mapping) and "_target_" in block for block in family.values())
    layers, both = inner or family.get("layers", 1), family.get("bidirectional") is True
    numbers = [str(n) for n in range(1, layers + 1)] if isinstance(layers, int) and (layers > 1 or both) else []
    ends = [f"{n}{way}" for n in numbers for way in (("", "_reverse") if both else ("",))]
    return {
        f"{key}.{end}": Metric(
            f"{metric.meaning}; of layer {end}", f"{metric.label or key} of layer {end}", metric.drawn
        )
        for key, metric in metrics.items()
        for end in (ends if metric.by_layer else ())
    }


def check_objectives(objectives: Sequence[Objective], variants: Sequence[Variant]) -> None:
    """Objectives must name metrics that every trial reports.

    Raises:
        ConfigError: they do not; hints at the nearest.
    """
    own = unit_metrics(variants)
    known = [key for key in (*METRICS, *own[0]) if key in METRICS or all(key in each for each in own)]
    # it is made of the objective's metric: a circle
    known.remove("objective")
    for index, objective in enumerate(objectives):
        if objective.metric in known:
            continue
        key = f"objective.{index}.metric" if len(objectives) > 1 else "objective.metric"
        problem, hint = "not all trials of this sweep would report it", nearest(objective.metric, known)
        raise ConfigError(problem, key=key, value=objective.metric, allowed=known, hint=hint)


def check_engine(resolved: Mapping[str, Any]) -> None:
    """A GPU that was asked for must be there, as far as this machine can tell: workers of a cluster have their own.

    Raises:
        ConfigError: there is none, or the workers are to have none.
    """
    if resolved["engine"] != "gpu":
        return
    cluster = resolved["cluster"]
    if cluster["gpus_per_worker"] == 0:
        allowed = "1 or more, auto, or another engine"
        raise ConfigError("leaves engine=gpu without a GPU", key="cluster.gpus_per_worker", value=0, allowed=allowed)
    here = cluster["executor"] == "inline" or cluster["address"] is None
    if here and not torch.cuda.is_available():
        raise ConfigError("there is no GPU on this machine", key="engine", value="gpu", allowed="auto, reference, cpu")


def _units_by_key(units: Units) -> dict[str, Unit]:
    named: dict[str, Unit] = {"task": units.task, "init": units.init, "readout": units.readout}
    named["embedding"] = units.embedding
    named |= units.rows()
    return named | {f"{key}.{name}": inner for key, unit in named.items() for name, inner in unit.nested.items()}


def _write_back(variant: Variant, units: Units) -> None:
    """Whole numbers in the resolved config as the units took them, so that every store shows what was trained."""
    for key, unit in _units_by_key(units).items():
        block: Any = variant.resolved
        for part in key.split("."):
            block = block.get(part) if isinstance(block, dict) else None
        for name, allowed in {**unit.rows, **unit.fixed}.items():
            if isinstance(block, dict) and name in block:
                block[name] = as_declared(block[name], allowed)


def _allowed(key: str, base: Sequence[Units]) -> Range | tuple[Any, ...] | None:
    """What the config or some variant's unit allows at a dotted key, None where neither says."""
    if key in PLAIN:
        return PLAIN[key]
    prefix, _, name = key.rpartition(".")
    for units in base:
        unit = _units_by_key(units).get(prefix)
        declared = {**unit.rows, **unit.fixed} if unit is not None else {}
        if name in declared:
            return declared[name]
    return None


def _whole_dimension(dimension: Dimension, base: Sequence[Units]) -> Dimension:
    """The dimension, its choices as ints where whole numbers are searched.

    Raises:
        ConfigError: an interval of floats where whole numbers are searched, or a value of a plain key out of range.
    """
    allowed, key = _allowed(dimension.key, base), f"space.{dimension.key}"
    if isinstance(allowed, Range) and allowed.integer:
        if dimension.kind == "float":
            ends = f"{dimension.low:g},{dimension.high:g}"
            written = f"interval({ends})"
            hint = f"int({f'tag(log,{written})' if dimension.log else written})"
            raise ConfigError("takes whole numbers only", key=key, value=written, allowed=allowed.words(), hint=hint)
        dimension = dataclasses.replace(
            dimension, choices=tuple(as_declared(item, allowed) for item in dimension.choices)
        )
    if dimension.key in PLAIN and allowed is not None:
        for value in _ends(dimension):
            check_field(key, value, allowed)
    return dimension


def _corners(variant: Variant, space: Space) -> Iterator[dict[str, Any]]:
    units: dict[str, list[Dimension]] = {}
    for dimension in space:
        # per unit, since units refuse values of their own fields: all dimensions together would have far too many
        # corners
        if dimension.key not in variant.groups and _may_exist(dimension, variant):
            units.setdefault(_unit_of(dimension.key), []).append(dimension)
    for dimensions in units.values():
        corners = itertools.product(*(_ends(dimension) for dimension in dimensions))
        # corners double with every dimension
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
    # conditions on values, not on units, may hold somewhere: `values[0]` lets them pass
    return all(variant.groups.get(key, values[0]) in values for key, values in dimension.when.items())


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    if dimension.kind == "categorical":
        return dimension.choices
    return (dimension.low,) if dimension.low == dimension.high else (dimension.low, dimension.high)


def _blamed(error: ConfigError, corner: dict[str, Any]) -> ConfigError:
    # a unit that checks two fields together may name neither
    key = error.key if error.key in corner else next(iter(corner))
    beside = ", ".join(f"{name}={value}" for name, value in corner.items() if name != key)
    problem = f"{error.problem} at a corner of the space" + (f" ({beside})" if beside else "")
    return ConfigError(
        problem, key=f"space.{key}", value=corner[key], allowed=error.allowed, hint=error.hint, file=error.file
    )
