"""From a trial's parameters to its full config: plain dictionaries, no Hydra, usable in workers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.errors import ConfigError
from rnnsweep.loader import NAME
from rnnsweep.sweep.plan import Scalar


@dataclass(frozen=True)
class Variant:
    """The resolved config for one combination of searched groups.

    Attributes:
        groups: the searched groups' choices, e.g. ``{"family": "lstm"}``; empty where only values are searched.
        resolved: full nested config.
        names: group -> name of its unit, for all groups that take one unit.
    """

    groups: Mapping[str, str]
    resolved: dict[str, Any] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)


def resolve_point(variants: Sequence[Variant], params: Mapping[str, Scalar]) -> dict[str, Any]:
    """The full nested config of one trial; a copy, free to change. Groups that `params` leaves open take the first.

    Blocks of units carry their unit's name, as the loader takes it (`loader.NAME`).

    Raises:
        ConfigError: no variant for the chosen units, or a parameter that the variant does not have.

    Example:
        >>> resolve_point([Variant({}, {"init": {"sigma": 0.1}})], {"init.sigma": 0.2})
        {'init': {'sigma': 0.2}}
    """
    for variant in variants:
        if all(params.get(group, choice) == choice for group, choice in variant.groups.items()):
            break
    else:
        known = [dict(variant.groups) for variant in variants]
        raise ConfigError("no such combination of units", key="params", value=dict(params), allowed=known)
    # deep: `put` below changes nested blocks, which all trials of the variant share
    resolved = copy.deepcopy(dict(variant.resolved))
    for group, name in variant.names.items():
        if isinstance(resolved.get(group), dict):
            resolved[group][NAME] = name
    for key, value in params.items():
        # a group's choice has picked the variant already; it is no key of the tree
        if key not in variant.groups:
            put(resolved, key, value)
    return resolved


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set an existing dotted key in a nested config.

    Raises:
        ConfigError: there is no such key.
    """
    node: Any = tree
    *above, last = key.split(".")
    for part in above:
        node = node.get(part) if isinstance(node, dict) else None
    # never create a key: a typing error would train with the default
    if not isinstance(node, dict) or last not in node:
        raise ConfigError("unknown key", key=key)
    node[last] = value


def lookup(tree: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value at a dotted key, or the default.

    Example:
        >>> lookup({"init": {"sigma": 0.1}}, "init.sigma")
        0.1
    """
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def without_passwords(data: Any) -> Any:
    """A copy of a nested config in which no URL shows a password: for whatever is printed, logged or tracked.

    Example:
        >>> without_passwords({"ledger": "postgresql://me:secret@host/db"})
        {'ledger': 'postgresql://me:***@host/db'}
    """
    # here: workers use this module and need no SQLAlchemy
    from rnnsweep.adapters.ledger.secrets import hidden

    return hidden(data)
