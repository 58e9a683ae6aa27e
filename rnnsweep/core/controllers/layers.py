"""Which of a network's layers a controller acts on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.loops import BackwardPass

LAST, ALL, PATH = "last", "all", "path"

Layers = str | tuple[int, ...]
"""``last``, ``all``, ``path`` (the network as one loop over all layers' states), or numbers, counted from 1."""


def as_layers(layers: Any) -> Any:
    """The value of a config as the tuple or word that it stands for."""
    return tuple(layers) if isinstance(layers, list | tuple) else layers


def check_layers(layers: Layers, key: str, family: Family) -> None:
    """Raise `ConfigError` for layers that the family does not have."""
    count = family.layers
    if layers == PATH and family.bidirectional:
        problem = "there is no path through layers that read from both ends"
        raise ConfigError(problem, key=key, value=PATH, allowed=f"{LAST}, {ALL}, or family.bidirectional=false")
    if layers in (LAST, ALL, PATH):
        return
    numbers = layers if isinstance(layers, tuple) else ()
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= count for n in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        allowed = f"{LAST}, {ALL}, {PATH}, or different numbers of 1..{count}, such as [1]"
        raise ConfigError("no such layers", key=key, value=layers, allowed=allowed)


def numbers_of(layers: Layers, count: int) -> frozenset[int]:
    """The chosen layers of so many, counted from 1; all of them for the path."""
    if layers == LAST:
        return frozenset({count})
    return frozenset(range(1, count + 1) if isinstance(layers, str) else layers)


def chosen(layers: Layers, passes: Sequence[BackwardPass]) -> list[BackwardPass]:
    """The ways back of the chosen layers, at the inputs first."""
    wanted = numbers_of(layers, passes[-1].loop.place.layers)
    return [one for one in passes if one.loop.place.layer in wanted]
