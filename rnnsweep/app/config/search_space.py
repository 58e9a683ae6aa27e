"""The search space: what was written, turned into dimensions whose conditions are settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rnnsweep.adapters.hydra.compose import Composition, unknown_key
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, TARGET
from rnnsweep.adapters.hydra.ranges import GRAMMAR, dimension
from rnnsweep.adapters.hydra.space_block import SEARCHED_GROUPS, SearchedKey
from rnnsweep.app.config.data_paths import place_dimension
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import NAME
from rnnsweep.sweep.space import Dimension, Space, parents_first

SEARCHED = (*SEARCHED_GROUPS, "controllers")
"""Groups of a trial, whose values can be searched."""
ALONE = ("training.batch",)


def build_space(composition: Composition) -> Space:
    """All dimensions, conditions' parents before their children.

    Raises:
        ConfigError: a key that does not exist or cannot be searched, no default range, a condition that is no key of
            the config or runs in a circle.
    """
    dims = []
    for key, item in composition.searched.items():
        # a key of one searched unit only is in some variants and not in others
        if not any(key in tree for _, tree in composition.variants):
            if composition.outdated(key, item.source):
                continue
            raise unknown_key(composition, key, item.source, "space.")
        if item.spec is not None:
            dims.append(composition.dimensions.get(key) or _value_dimension(composition, key, item))
    settled = [_settle(composition, dim, {other.key for other in dims}) for dim in dims]
    whole = [dim for dim in settled if dim is not None]
    ordered = parents_first(whole, lambda key: composition.searched[key].source)
    return Space(tuple(place_dimension(dim) for dim in ordered))


def _no_value(composition: Composition, key: str, group: Mapping[str, Any], source: str) -> ConfigError:
    laid_over = next((tree.origin[key] for _, tree in composition.variants if key in tree.origin), None)
    if laid_over is None:
        allowed = [f"{key}.{name}" for name in group if name not in (TARGET, NAME)]
        return ConfigError("is a group of keys", key=f"space.{key}", allowed=allowed, file=source)
    # what laid a mapping over a value is to blame, not the space that names the value
    allowed = f"a value; a range is {key}=interval(0.1,10) or space={{{key}: {{low: 0.1, high: 10}}}}"
    return ConfigError("is a group of keys", key=key, value=dict(group), allowed=allowed, file=laid_over)


def _value_dimension(composition: Composition, key: str, item: SearchedKey) -> Dimension:
    having = [choices for choices, tree in composition.variants if key in tree]
    group = key.split(".")[0]
    first = _first(composition, key)
    if isinstance(first, Mapping):
        raise _no_value(composition, key, first, item.source)
    if group not in SEARCHED and key not in ALONE:
        allowed = f"a value below {', '.join(SEARCHED)}; training.batch; or a group of units"
        raise ConfigError("cannot be searched", key=f"space.{key}", allowed=allowed, file=item.source)
    dim = dimension(key, _spec(composition, key, item), item.source)
    # not in all variants: the dimension exists only beside the units that have the key, which becomes its condition
    if len(having) == len(composition.variants):
        return dim
    return dataclasses.replace(dim, when={group: tuple(dict.fromkeys(c[group] for c in having)), **dim.when})


def _spec(composition: Composition, key: str, item: SearchedKey) -> Any:
    spec = item.spec
    inner = spec.get("search") if isinstance(spec, Mapping) else spec
    if inner != "default":
        return spec
    ranges = [tree.ranges[key] for _, tree in composition.variants if key in tree.ranges]
    if not ranges:
        raise ConfigError(
            "has no default range", key=f"space.{key}", value="default", allowed=GRAMMAR, file=item.source
        )
    return {**spec, "search": ranges[0]} if isinstance(spec, Mapping) else ranges[0]


def _first(composition: Composition, key: str) -> Any:
    return next(tree.get(key) for _, tree in composition.variants if key in tree)


def _settle(composition: Composition, dim: Dimension, searched: set[str]) -> Dimension | None:
    """Decide conditions on keys that are not searched; None where the dimension can never exist."""
    tree, left = composition.variants[0][1], {key: values for key, values in dim.when.items() if key in searched}
    for key, values in dim.when.items():
        if key in searched:
            continue
        choice = composition.choices.get(key)
        if not isinstance(choice, str) and not any(key in other for _, other in composition.variants):
            hint = nearest(key, [*composition.choices, *tree.paths()])
            source = composition.searched[dim.key].source
            raise ConfigError("unknown key in a condition", key=f"space.{dim.key}.when.{key}", hint=hint, file=source)
        holding = _variants_where(composition, key, values)
        if 0 < len(holding) < len(composition.variants):
            # It holds for some choices of a searched group only: a condition on that choice says the same.
            group = key.partition(".")[0]
            chosen = {choices[group] for choices in holding}
            left[group] = tuple(name for name in left.get(group, sorted(chosen)) if name in chosen)
        elif not holding:
            if composition.origin.get(key, tree.origin.get(key)) != COMMAND_LINE:  # else: what was typed wins, as meant
                needed = " or ".join(map(str, values))
                composition.idle.append(f"{dim.key} is never searched: its condition {key}={needed} does not hold")
            return None
    return dataclasses.replace(dim, when=left)


def _variants_where(composition: Composition, key: str, values: Sequence[Any]) -> list[dict[str, str]]:
    """Choices of the searched groups for which a key that is not searched has one of some values."""
    choice = composition.choices.get(key)
    if isinstance(choice, str):
        return [choices for choices, _ in composition.variants if choices.get(key, choice) in values]
    return [choices for choices, tree in composition.variants if key in tree and tree.get(key) in values]


def to_plain(space: Space) -> dict[str, dict[str, Any]]:
    """The space as plain data: dotted key -> the dimension's fields that are set."""
    return {dimension.key: dimension.plain() for dimension in space}


def from_plain(data: Mapping[str, Mapping[str, Any]]) -> Space:
    """The inverse of `to_plain`.

    Example:
        >>> to_plain(from_plain({"a": {"kind": "categorical", "choices": [1, 2]}}))
        {'a': {'kind': 'categorical', 'choices': [1, 2]}}
    """
    return Space(tuple(Dimension.of_plain(key, fields) for key, fields in data.items()))
