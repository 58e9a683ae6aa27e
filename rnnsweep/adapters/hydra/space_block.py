"""Space blocks as written: dotted keys with their ranges, and groups whose unit is searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension

# not sampler, pruner, cluster, ...: they are the sweep's, and no trial's
SEARCHED_GROUPS = ("task", "family", "embedding", "readout", "init", "learner", "optimizer")
_RANGE_WORDS = ("low", "high", "choices", "search")


@dataclass(frozen=True)
class SearchedKey:
    """What is searched under one key, as written, and where it was written; a `spec` of None: no longer searched."""

    spec: Any
    source: str


def specs(block: Any, source: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and range of a space block, which may be nested or use dotted keys.

    Raises:
        ConfigError: it is no mapping.
    """
    if block is None:
        return
    if not isinstance(block, Mapping):
        allowed = "a mapping of dotted keys to ranges"
        raise ConfigError(
            "is no search space", key=f"space{above and '.'}{above}", value=block, allowed=allowed, file=source
        )
    for name, spec in block.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(spec, Mapping) and not any(word in spec for word in _RANGE_WORDS):
            yield from specs(spec, source, key)
        else:
            yield key, spec


def group_dimension(key: str, searched: SearchedKey) -> Dimension:
    """The dimension of a group whose unit is searched.

    Raises:
        ConfigError: a group of the sweep and not of the trial, or a range that is no choice of units.
    """
    if key not in SEARCHED_GROUPS:
        allowed = ", ".join(SEARCHED_GROUPS)
        raise ConfigError("cannot be searched", key=f"space.{key}", allowed=allowed, file=searched.source)
    dim = dimension(key, searched.spec, searched.source)
    if dim.kind != "categorical" or not all(isinstance(choice, str) for choice in dim.choices):
        allowed = f"{key}=choice(a,b)"
        raise ConfigError("is no choice of units", key=f"space.{key}", allowed=allowed, file=searched.source)
    return dim
