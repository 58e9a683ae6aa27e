"""A plain-Python account of the synthetic tasks, written from their published descriptions, one sequence at a time."""

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction


def rounded(value: Fraction) -> int:
    return int((Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal(1), ROUND_HALF_UP))


def one_based(*ends):
    """Windows in 1-based, real-valued ends -> 0-based whole ends."""
    return [(rounded(Fraction(low)) - 1, rounded(Fraction(high)) - 1) for low, high in ends]


def order_windows(variant: str, bits: int, L: int):
    """First and last position of each symbol, 0-based; `int` truncates, as in the authors' scripts."""
    if variant == "pascanu":
        n = int(0.1 * L)
        bases = [n, int(0.5 * L)] if bits == 2 else [n, int(0.3 * L), int(0.6 * L)]
        return [(base, base + n - 1) for base in bases]
    tenth = Fraction(L, 10)
    ends = [(1, 2), (4, 5)] if bits == 2 else [(1, 2), (3, 4), (6, 7)]
    return one_based(*((low * tenth, high * tenth) for low, high in ends))


def marker_windows(variant: str, length: int):
    if variant == "pascanu":
        return [(0, int(0.1 * length) - 1), (int(0.1 * length), int(0.1 * length) + int(0.4 * length) - 1)]
    if variant == "urnn":
        return [(0, length // 2 - 1), (length // 2, length - 1)]
    extended = Fraction(math.ceil(Fraction(11, 10) * length))
    return one_based((Fraction(1), extended / 10), (extended / 10 + 1, extended / 2))


def order_class(symbols: list[int]) -> tuple[list[int], int]:
    """Positions of A and B, and the class, from the symbols alone."""
    places = [t for t, symbol in enumerate(symbols) if symbol < 2]
    return places, sum(symbols[t] * 2**i for i, t in enumerate(places))


def marked(sequence: list[list[float]]) -> tuple[list[int], list[float]]:
    """Marked positions and their values from (marker, value) pairs alone."""
    places = [t for t, (marker, _) in enumerate(sequence) if marker == 1]
    return places, [sequence[t][1] for t in places]
