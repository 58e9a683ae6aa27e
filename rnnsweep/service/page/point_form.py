"""The form that the search space makes: a field per searched key, read as the command line reads values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnsweep.report.axis_values import choice_name
from rnnsweep.sweep.space import Dimension, Space

PREFIX = "point."
"""Before a searched key in the name of its field."""


@dataclass(frozen=True)
class PointField:
    """A field.

    Attributes:
        key: searched key. words: what it may be. choices: names of a choice's values, in the space's order; none for a
            range. beside: the condition under which it exists, empty where it always does.
    """

    key: str
    words: str
    choices: tuple[str, ...]
    beside: str

    @property
    def name(self) -> str:
        """Of the input."""
        return PREFIX + self.key


def point_fields(space: Space) -> list[PointField]:
    """The fields of a space, in its order."""
    return [
        PointField(
            dimension.key,
            "one of these" if dimension.kind == "categorical" else dimension.words(),
            tuple(map(choice_name, dimension.choices)),
            "; ".join(f"{key} = {' or '.join(map(choice_name, values))}" for key, values in dimension.when.items()),
        )
        for dimension in space
    ]


def point_of(space: Space, form: Mapping[str, str]) -> dict[str, Any]:
    """The point that was typed; fields that were left open are not in it, and are drawn.

    Raises:
        ConfigError: a value that is not searched; the same message as the command line's.
    """
    known = {dimension.key: dimension for dimension in space}
    typed = {name.removeprefix(PREFIX): text.strip() for name, text in form.items() if name.startswith(PREFIX)}
    point = {key: _value(known.get(key), text) for key, text in typed.items() if text}
    return space.fitting(point, "points.0")


def _value(dimension: Dimension | None, text: str) -> Any:
    if dimension is None:
        return text
    if dimension.kind == "categorical":  # the place in the list: names of two choices may be equal
        inside = text.isdecimal() and int(text) < len(dimension.choices)
        return dimension.choices[int(text)] if inside else text
    try:
        return int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return text
