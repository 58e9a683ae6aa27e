"""The median of times that need not all have come: one convention for objectives, tables, reports and MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Number = TypeVar("Number", int, float)


def censored_median(values: Sequence[Number], total: int) -> Number | None:
    """Median of `total` times of which only `values` were observed; None while fewer than half were.

    Unobserved times count as later than every observed one. With an even count the lower of the two middle values
    counts, so that the median is the time by which half of the replicas had solved: an average of the two would mix in
    a time that nobody has seen.

    Example:
        >>> censored_median([300.0, 100.0], 3), censored_median([100.0], 3), censored_median([200, 100], 4)
        (300.0, None, 200)
    """
    needed = (total + 1) // 2
    if total == 0 or len(values) < needed:
        return None
    return sorted(values)[needed - 1]
