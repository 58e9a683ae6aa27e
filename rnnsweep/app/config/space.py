"""The search space: what was written, turned into dimensions whose conditions are settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rnnsweep.adapters.hydra.compose import Composed
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE
from rnnsweep.adapters.hydra.ranges import GRAMMAR, dimension
from rnnsweep.app.config.compose import SEARCHED_GROUPS, Draft, Searched, unknown_key
from rnnsweep.app.config.data_paths import place_dimension
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.space import Dimension, Space

_SEARCHED = (*SEARCHED_GROUPS, "controllers")
_ALONE = ("training.batch",)


def build_space(plan: Draft) -> Space:
    """All dimensions, conditions' parents before their children.

    Raises:
        ConfigError: a key that does not exist or cannot be searched, no default range, a condition that is no key of
            the config or runs in a circle.
    """
    families = {dim.key: dim for dim in plan.families}
    entries = {key: item for key, item in plan.searched.items() if not _dropped(plan, key, item)}
    found = [families.get(key) or _value(plan, key, item) for key, item in entries.items()]
    settled = [dim for dim in (_settle(plan, dim, {d.key for d in found}) for dim in found) if dim is not None]
    return Space(tuple(place_dimension(dim) for dim in _parents_first(settled, plan)))


def _dropped(plan: Draft, key: str, item: Searched) -> bool:
    """Whether a sweep file searches a key of a unit that the command line replaced by one without it."""
    gone = item.source != COMMAND_LINE and key.startswith(plan.replaced)
    return gone and not any(_has(composed, key) for _, composed in plan.variants)


def _value(plan: Draft, key: str, item: Searched) -> Dimension:
    having = [choices for choices, composed in plan.variants if _has(composed, key)]
    if not having:
        raise unknown_key(plan, key, item.source, "space.")
    top = key.split(".")[0]
    if (top not in _SEARCHED and key not in _ALONE) or isinstance(_first(plan, key), Mapping):
        allowed = f"a value below {', '.join(_SEARCHED)}; training.batch; or a unit family"
        raise ConfigError("cannot be searched", key=f"space.{key}", allowed=allowed, file=item.source)
    found = dimension(key, _spec(plan, key, item), item.source)
    if len(having) == len(plan.variants):
        return found
    return dataclasses.replace(found, when={top: tuple(dict.fromkeys(c[top] for c in having)), **found.when})


def _spec(plan: Draft, key: str, item: Searched) -> Any:
    spec = item.spec
    inner = spec.get("search") if isinstance(spec, Mapping) else spec
    if inner != "default":
        return spec
    ranges = [composed.ranges[key] for _, composed in plan.variants if key in composed.ranges]
    if not ranges:
        raise ConfigError(
            "has no default range", key=f"space.{key}", value="default", allowed=GRAMMAR, file=item.source
        )
    return {**spec, "search": ranges[0]} if isinstance(spec, Mapping) else ranges[0]


def _has(composed: Composed, key: str) -> bool:
    try:
        composed.get(key)
    except KeyError:
        return False
    return True


def _first(plan: Draft, key: str) -> Any:
    return next(composed.get(key) for _, composed in plan.variants if _has(composed, key))


def _settle(plan: Draft, dim: Dimension, searched: set[str]) -> Dimension | None:
    """Decide conditions on keys that are not searched; None where the dimension can never exist."""
    left: dict[str, tuple[Any, ...]] = {}
    for key, values in dim.when.items():
        if key in searched:
            left[key] = values
        elif key in plan.groups and isinstance(plan.groups[key], str):
            if plan.groups[key] not in values:
                return None
        elif _has(plan.variants[0][1], key):
            if plan.variants[0][1].get(key) not in values:
                return None
        else:
            hint = nearest(key, [*plan.groups, *plan.variants[0][1].paths()])
            source = plan.searched[dim.key].source
            raise ConfigError("unknown key in a condition", key=f"space.{dim.key}.when.{key}", hint=hint, file=source)
    return dataclasses.replace(dim, when=left)


def _parents_first(dims: list[Dimension], plan: Draft) -> list[Dimension]:
    ordered: list[Dimension] = []
    waiting = list(dims)
    kept = {dim.key for dim in dims}
    while waiting:
        placed = {dim.key for dim in ordered}
        ready = next((d for d in waiting if all(k in placed or k not in kept for k in d.when)), None)
        if ready is None:
            key = waiting[0].key
            source = plan.searched[key].source
            raise ConfigError("conditions run in a circle", key=f"space.{key}.when", file=source)
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def to_plain(space: Space) -> dict[str, dict[str, Any]]:
    """The space as plain data: dotted key -> the dimension's fields that are set."""
    return {dim.key: _fields(dim) for dim in space}


def _fields(dim: Dimension) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": dim.kind}
    if dim.kind == "categorical":
        fields["choices"] = list(dim.choices)
    else:
        fields |= {"low": dim.low, "high": dim.high, "log": dim.log, "step": dim.step}
    if dim.when:
        fields["when"] = {key: list(values) for key, values in dim.when.items()}
    return fields


def from_plain(data: Mapping[str, Mapping[str, Any]]) -> Space:
    """The inverse of `to_plain`.

    Example:
        >>> to_plain(from_plain({"a": {"kind": "categorical", "choices": [1, 2]}}))
        {'a': {'kind': 'categorical', 'choices': [1, 2]}}
    """
    return Space(tuple(_dimension(key, dict(fields)) for key, fields in data.items()))


def _dimension(key: str, fields: dict[str, Any]) -> Dimension:
    choices = tuple(fields.pop("choices", ()))
    when = {name: tuple(values) for name, values in fields.pop("when", {}).items()}
    return Dimension(key, **fields, choices=choices, when=when)
