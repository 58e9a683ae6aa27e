"""Finite groups by their multiplication tables, and products along sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import permutations, product

import torch
from jaxtyping import Int64
from torch import Tensor

Element = tuple[int, ...]

GROUPS = ("z2", "s3", "z60", "a4xz5", "a5", "s5")
"""By name: cyclic Z_n, symmetric S_n, alternating A_n, and a direct product. A5 and S5 alone are not solvable."""


@lru_cache(maxsize=16)
def multiplication_table(group: str) -> Int64[Tensor, "n n"]:
    """Which element a b is, int64 [n, n]; of permutations: first a, then b. Element 0 is the identity.

    Example:
        >>> multiplication_table("z2").tolist(), len(multiplication_table("a5"))
        ([[0, 1], [1, 0]], 60)
    """
    elements, times = _GROUPS[group]()
    number = {element: index for index, element in enumerate(elements)}
    return torch.tensor([[number[times(a, b)] for b in elements] for a in elements])


@lru_cache(maxsize=16)
def table_on(group: str, device: torch.device) -> Int64[Tensor, "n n"]:
    """The table where it is used, so that no mini-batch waits for a copy."""
    return multiplication_table(group).to(device)


def prefix_products(codes: Int64[Tensor, "P T B"], table: Int64[Tensor, "n n"]) -> Int64[Tensor, "P T B"]:
    """Product of all codes up to each step.

    Numerics:
        By doubling: log2 T gathers, not T, which needs nothing but that products are associative. Whole numbers.
    """
    products, reach, flat = codes, 1, table.flatten()
    while reach < codes.shape[1]:
        # each entry stands for the `reach` codes that end there: what ended just before it comes in front
        further = flat[products[:, :-reach] * len(table) + products[:, reach:]]
        products = torch.cat([products[:, :reach], further], 1)
        reach *= 2
    return products


def _then(a: Element, b: Element) -> Element:
    return tuple(b[i] for i in a)


def _symmetric(n: int) -> tuple[Sequence[Element], Callable[[Element, Element], Element]]:
    # in lexicographic order: the identity comes first
    return list(permutations(range(n))), _then


def _alternating(n: int) -> tuple[Sequence[Element], Callable[[Element, Element], Element]]:
    def even(p: Element) -> bool:
        return sum(p[i] > p[j] for j in range(n) for i in range(j)) % 2 == 0

    return [p for p in permutations(range(n)) if even(p)], _then


def _cyclic(n: int) -> tuple[Sequence[Element], Callable[[Element, Element], Element]]:
    return [(i,) for i in range(n)], lambda a, b: ((a[0] + b[0]) % n,)


def _a4xz5() -> tuple[Sequence[Element], Callable[[Element, Element], Element]]:
    (first, times), (second, plus) = _alternating(4), _cyclic(5)
    return [a + b for a, b in product(first, second)], lambda a, b: times(a[:4], b[:4]) + plus(a[4:], b[4:])


_GROUPS: dict[str, Callable[[], tuple[Sequence[Element], Callable[[Element, Element], Element]]]] = {
    "z2": lambda: _cyclic(2),
    "s3": lambda: _symmetric(3),
    "z60": lambda: _cyclic(60),
    "a4xz5": _a4xz5,
    "a5": lambda: _alternating(5),
    "s5": lambda: _symmetric(5),
}
