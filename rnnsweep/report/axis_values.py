"""Where values of searched keys lie on an axis: ranges at their numbers, choices side by side, missing ones apart."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rnnsweep.report.data import Column, SweepData
from rnnsweep.report.style import plain_log

MISSING = "–"
"""What an axis calls the place of trials in which the key does not exist."""


def positions(data: SweepData, key: str, values: Column) -> tuple[Column, list[str] | None]:
    """Places of a key's values, NaN where it does not exist, and the names of choices (None for ranges).

    Choices lie at 0, 1, 2, ... in the order of the space.
    """
    if data.numeric(key):
        return values.astype(float), None
    choices = data.dimension(key).choices
    places = {_identity(choice): float(index) for index, choice in enumerate(choices)}
    indices = [places.get(_identity(value), math.nan) for value in values]
    return pd.Series(indices, index=values.index, dtype=float), [choice_name(choice) for choice in choices]


def _identity(choice: object) -> object:
    """What makes two values one choice: 4 and 4.0 are, True and 1 are not; lists and blocks are compared as text."""
    # before numbers, of which bool is one in Python
    if isinstance(choice, (bool, np.bool_)):
        return str(bool(choice))
    if isinstance(choice, (int, float, np.number)):
        return float(choice)
    return choice if isinstance(choice, str) else json.dumps(choice, sort_keys=True, default=str)


def choice_name(choice: object) -> str:
    """A choice as a tick says it; an infinite limit is none."""
    if isinstance(choice, float) and math.isinf(choice):
        return "off"
    if isinstance(choice, float):
        return f"{choice:g}"
    return str(choice) if isinstance(choice, (str, int)) else json.dumps(choice, default=str)


def spread(numbers: Column) -> Column:
    """Sideways offsets for points that share a choice and would hide each other; the same in every drawing."""
    # multiples of the golden ratio spread evenly for any count, and no generator is needed
    return ((numbers * 0.618034) % 1 - 0.5) * 0.42


def name_axis(axes: Axes, data: SweepData, key: str, names: list[str] | None) -> None:
    """Give the x axis the key's scale: the names of choices, plain numbers on a logarithmic range."""
    if names is not None:
        longest = max(map(len, names))
        crowded = longest * len(names) > 42
        axes.set_xticks(range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.grid(axis="x", visible=False)
    elif data.logarithmic(key):
        plain_log(axes)
