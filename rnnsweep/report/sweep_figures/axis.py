"""A searched key as the axis of a figure, and as the colour of its trials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from rnnsweep.report.axis_values import choice_name, spread
from rnnsweep.report.data import Column, Frame
from rnnsweep.report.style import CYCLE, GREY, PlainLogLocator, number, plain_log, short

if TYPE_CHECKING:
    from rnnsweep.sweep.space import Dimension

# the brightest tenth would be lost on white
_SHADES = LinearSegmentedColormap.from_list("trials", mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))
FEW = 8
"""Values up to which each has a line of its own in the legend."""


@dataclass(frozen=True)
class Axis:
    """Where each trial lies, and how it is coloured.

    Attributes:
        key: a searched key or a column of the table.
        places: trial -> its place on the axis; a trial without a value has none.
        names: of the places 0, 1, ... where they are choices; empty on a number line.
        log: whether the number line is logarithmic.
    """

    key: str
    places: Mapping[int, float]
    names: tuple[str, ...] = ()
    log: bool = False

    @classmethod
    def of(cls, key: str, values: Mapping[int, Any], dimension: Dimension | None = None) -> Axis:
        """The axis of a key.

        Args:
            key: as it is searched. values: trial -> value; None where the trial has none.
            dimension: how it is searched; None for a column that is not.

        Raises:
            ValueError: no trial has a value; the message is the user's.
        """
        known = {trial: value for trial, value in values.items() if value is not None and value == value}
        if not known:
            raise ValueError("none of these trials has a value of it")
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known.values())
        if dimension is not None and dimension.kind != "categorical" and numbers:
            return cls(key, {trial: float(value) for trial, value in known.items()}, log=dimension.log)
        if dimension is None and numbers:
            return cls(key, {trial: float(value) for trial, value in known.items() if math.isfinite(value)})
        choices = dimension.choices if dimension is not None and dimension.choices else tuple(known.values())
        present = {_text(value) for value in known.values()}
        order = [text for text in dict.fromkeys(map(_text, choices)) if text in present]
        named = {_text(choice): choice_name(choice) for choice in choices}
        places = {trial: float(order.index(_text(value))) for trial, value in known.items()}
        return cls(key, places, tuple(named[text] for text in order))

    @property
    def label(self) -> str:
        """Words for the axis."""
        return short(self.key)

    @property
    def values(self) -> list[float]:
        """The different places, ascending."""
        return sorted(set(self.places.values()))

    @property
    def few(self) -> bool:
        """Whether each value has a colour that a legend can name."""
        return len(self.values) <= FEW

    def colour(self, trial: int) -> Any:
        """The trial's colour; grey without a value."""
        place = self.places.get(trial)
        if place is None:
            return GREY
        return _SHADES(self._norm()(place))

    def name(self, place: float) -> str:
        """A place in words."""
        return self.names[int(place)] if self.names else number(place)

    def said(self, trial: int) -> str:
        """The trial with its value, for a title."""
        place = self.places.get(trial)
        known = place is not None and self.key != "trial"
        return f"trial {trial}" + (f" · {self.label} = {self.name(place)}" if known and place is not None else "")

    def x(self, frame: Frame) -> Column:
        """Places of a frame's trials; choices are spread a little, so that their points do not hide each other."""
        place = frame["trial"].map(self.places).astype(float)
        return place + spread(frame["trial"] + 0.37 * frame["replica"]) if self.names else place

    def dress(self, axes: Axes) -> None:
        """Make the x axis the key's."""
        axes.set_xlabel(self.label)
        if self.names:
            crowded = sum(map(len, self.names)) > 42
            axes.set_xticks(range(len(self.names)), self.names, rotation=30 if crowded else 0)
            axes.set_xlim(-0.6, len(self.names) - 0.4)
            axes.grid(axis="x", visible=False)
        elif self.log:
            plain_log(axes)

    def explain(self, figure: Figure, axes: Any) -> None:
        """What the colours mean: a legend of few values, a scale of many."""
        if not self.few:
            bar = figure.colorbar(ScalarMappable(self._norm(), _SHADES), ax=axes, pad=0.015, aspect=28)
            if self._logarithmic:
                bar.ax.yaxis.set_major_locator(PlainLogLocator())
                bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                bar.ax.yaxis.set_minor_locator(NullLocator())
            bar.set_label(self.label)
            bar.outline.set_visible(False)
            return
        norm = self._norm()
        handles = [Line2D([], [], color=_SHADES(norm(place)), linewidth=3) for place in self.values]
        figure.legend(
            handles,
            [self.name(place) for place in self.values],
            loc="outside lower center",
            ncols=len(handles),
            title=self.label,
        )

    @property
    def _logarithmic(self) -> bool:
        return self.log and self.values[0] > 0

    def _norm(self) -> Normalize:
        low, high = self.values[0], self.values[-1]
        if self._logarithmic:
            return LogNorm(low, high if high > low else 2 * low)
        return Normalize(low, high if high > low else low + 1)


CLASS_COLOURS = CYCLE
"""Colours of a task's classes, in their order."""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return repr(float(value)) if isinstance(value, int | float) else json.dumps(value, sort_keys=True, default=str)


def curves(axes: Axes, frame: Frame, axis: Axis, x: str, y: str, *, geometric: bool = False) -> None:
    """One line per row in its trial's colour; with few values, thin lines and one mean per value in front.

    Args:
        axes: where. frame: long, x ascending within a row. axis: the colours.
        x, y: columns. geometric: whether the mean is one of logarithms.
    """
    groups = list(frame.groupby(["trial", "replica"], sort=False))
    many = axis.few and len(groups) > len(axis.values)
    for (trial, _), line in groups:
        width, alpha = (0.7, 0.35) if many else (1.3, 0.9)
        axes.plot(line[x], line[y], color=axis.colour(trial), linewidth=width, alpha=alpha)
    if not many:
        return
    placed = frame.assign(place=frame["trial"].map(axis.places))
    for _, same in placed.dropna(subset=["place"]).groupby("place"):
        values = same.assign(mean=np.log(same[y].where(same[y] > 0)) if geometric else same[y])
        mean = values.groupby(x)["mean"].mean()
        line = np.exp(mean) if geometric else mean
        axes.plot(mean.index, line, color=axis.colour(same["trial"].iloc[0]), linewidth=2.2)


def points(axes: Axes, frame: Frame, axis: Axis, y: str, **options: Any) -> None:
    """One dot per line of the frame, at its trial's place and in its colour."""
    known = frame[frame["trial"].isin(list(axis.places))]
    colours = [axis.colour(trial) for trial in known["trial"]]
    style: dict[str, Any] = {"s": 34, "linewidths": 0.6, "edgecolors": "white", "c": colours, "zorder": 3}
    if options.pop("hollow", False):
        style |= {"facecolors": "white", "edgecolors": colours, "linewidths": 1.2}
        style.pop("c")
    axes.scatter(axis.x(known), known[y], **{**style, **options})
