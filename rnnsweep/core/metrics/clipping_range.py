"""Which clipping thresholds are worth trying for a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

FACTORS = (0.5, 10.0)


def threshold_range(norms: Sequence[float]) -> tuple[float, float] | None:
    """Half of, and ten times, the average gradient norm; None without finite norms.

    Args:
        norms: means of ``grad/norm`` over the rungs of a run, each over equally many updates.

    Numerics:
        Non-finite values are left out.

    References:
        Pascanu, Mikolov, Bengio (2013), section 3.2: thresholds between half and ten times the average norm over many
        updates converge.

    Example:
        >>> threshold_range([1.0, 3.0])
        (1.0, 20.0)
    """
    finite = [norm for norm in norms if math.isfinite(norm)]
    if not finite:
        return None
    # Rungs are equally long, so the mean of their means is that of all updates.
    mean = sum(finite) / len(finite)
    return FACTORS[0] * mean, FACTORS[1] * mean
