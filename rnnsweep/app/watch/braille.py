"""Curves as text: a braille letter has two dots side by side and four on top of each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CurvePoints = Sequence[tuple[float, float]]
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille letter by column and row, as Unicode numbers them."""
_BLANK = 0x2800
LOG_RATIO = 100.0
"""A range of positive values this wide is drawn on a logarithmic axis."""
GUTTER = 11
"""Places for the labels of the vertical axis."""


@dataclass(frozen=True)
class BrailleDrawing:
    """A drawing.

    Attributes:
        lines: of equal width: label, axis, letters.
        owners: for every letter the last curve that has a dot in it, -1 for none; without the gutter.
        log: whether the vertical axis is logarithmic.
    """

    lines: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]
    log: bool = False


def draw(curves: Sequence[CurvePoints], width: int, height: int) -> BrailleDrawing:
    """Draw curves over one another, later ones on top.

    Args:
        curves: points by x; those that are not finite are left out.
        width: of the whole, letters; at least `GUTTER` and a few.
        height: lines, the last of which labels the horizontal axis; at least 2.
    """
    kept = [[(x, y) for x, y in curve if math.isfinite(x) and math.isfinite(y)] for curve in curves]
    points = [point for curve in kept for point in curve]
    columns, rows = max(1, width - GUTTER), max(1, height - 1)
    if not points:
        blank = " " * max(1, width)
        return BrailleDrawing((blank,) * height, ((-1,) * columns,) * rows)
    ys = [y for _, y in points]
    log = min(ys) > 0 and max(ys) / min(ys) >= LOG_RATIO
    scale = math.log10 if log else float
    across = _span([x for x, _ in points])
    up = _span([scale(y) for y in ys])
    bits = [[0] * columns for _ in range(rows)]
    owners = [[-1] * columns for _ in range(rows)]
    for number, curve in enumerate(kept):
        dots = [(_dot(x, across, 2 * columns), 4 * rows - 1 - _dot(scale(y), up, 4 * rows)) for x, y in curve]
        for column, line in _joined(dots):
            bits[line // 4][column // 2] |= _DOTS[column % 2][line % 4]
            owners[line // 4][column // 2] = number
    letters = ["".join(chr(_BLANK + bit) for bit in line) for line in bits]
    labels = _labels(rows, min(ys), max(ys))
    lines = [f"{label:>{GUTTER - 2}} ┤{line}" for label, line in zip(labels, letters, strict=True)]
    xs = [x for x, _ in points]
    return BrailleDrawing((*lines, _below(min(xs), max(xs), columns)), tuple(map(tuple, owners)), log)


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _dot(value: float, span: tuple[float, float], dots: int) -> int:
    low, high = span
    whole = high / 2 - low / 2  # of halves, whose difference is never infinite
    # a curve that is flat, or one point, stands in the middle
    share = (value / 2 - low / 2) / whole if whole > 0 else 0.5
    return min(dots - 1, max(0, round(share * (dots - 1))))


def _joined(dots: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """All dots on the straight lines between neighbours."""
    yield from dots[:1]
    for (x0, y0), (x1, y1) in itertools.pairwise(dots):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(1, steps + 1):
            yield x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)


def _labels(rows: int, low: float, high: float) -> list[str]:
    labels = [""] * rows
    labels[-1], labels[0] = _short(low), _short(high)
    return labels


def _short(value: float) -> str:
    """As many digits as there is room for; two always fit, also those of -1.2e-300."""
    return next(text for digits in (4, 3, 2) if len(text := f"{value:.{digits}g}") <= GUTTER - 2)


def _below(first: float, last: float, columns: int) -> str:
    left, right = f"{first:.0f}", f"{last:.0f}"
    line = left + right.rjust(columns - len(left)) if columns > len(left) + len(right) else right.rjust(columns)
    return " " * GUTTER + line[:columns]
