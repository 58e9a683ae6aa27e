"""Parameters of tests that cover every pair of values, where the whole product would take minutes and find no more.

Faults hide where one factor or two meet, hardly ever three at once: Kuhn, Wallace, Gallo (2004), "Software fault
interactions and implications for software testing", found 70 to 97 % of them by pairs. The rest of each product is not
lost, it is marked `study`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

Place = tuple[int, ...]
"""One value of each factor, by its index."""


def covering(sizes: Sequence[int], whole: int = 1) -> set[Place]:
    """Places in a product of so many values each, such that any two values of any two factors are in one together.

    Greedy, and the same in every process: of the places with what is still missing first, the one is taken that has
    most of the rest.

    Args:
        sizes: values of each factor.
        whole: of so many factors, the first ones, each combination is in some place.
    """
    pairs = itertools.combinations(range(len(sizes)), 2)
    missing = {(i, a, j, b): None for i, j in pairs for a in range(sizes[i]) for b in range(sizes[j])}
    chosen: dict[Place, None] = {}

    def add(place: dict[int, int]) -> None:
        for axis in sorted(set(range(len(sizes))) - place.keys()):
            scores = [sum(pair in missing for pair in _pairs({**place, axis: value})) for value in range(sizes[axis])]
            best = [value for value, score in enumerate(scores) if score == max(scores)]
            place[axis] = best[len(chosen) % len(best)]  # where any will do, each in its turn
        for pair in _pairs(place):
            missing.pop(pair, None)
        chosen[tuple(place[axis] for axis in range(len(sizes)))] = None

    for first in itertools.product(*map(range, sizes[:whole])):
        add(dict(enumerate(first)))
    while missing:
        i, a, j, b = next(iter(missing))
        add({i: a, j: b})
    return set(chosen)


def _pairs(place: Mapping[int, int]) -> list[tuple[int, int, int, int]]:
    return [(i, place[i], j, place[j]) for i, j in itertools.combinations(sorted(place), 2)]


def covered(*, whole: int = 1, **factors: Sequence[Any]) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize` over a product of which only a covering is run by default.

    Args:
        whole: so many of the first factors are run in every combination: what a fault may hide in together.
        factors: name of a parameter -> its values.
    """
    names, values = list(factors), [list(one) for one in factors.values()]
    sizes = [len(one) for one in values]
    chosen = covering(sizes, whole)
    params = [
        pytest.param(
            *(value[index] for value, index in zip(values, place, strict=True)),
            id="-".join(_word(value[index], name) for name, value, index in zip(names, values, place, strict=True)),
            marks=() if place in chosen else pytest.mark.study,
        )
        for place in itertools.product(*map(range, sizes))
    ]
    return pytest.mark.parametrize(names, params)


def _word(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return getattr(value, "__name__", None) or str(value)
