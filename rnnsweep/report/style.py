"""Colours, fonts and axes that all figures share.

The palette is Okabe and Ito's, which stays apart under the common colour-vision deficiencies; markers differ too, so
that no figure depends on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GREY, INK, FAINT = "#56B4E9", "#CC79A7", "#8A8F98", "#1F2933", "#D9DEE4"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
HALO = withStroke(linewidth=3.5, foreground="white")
"""Around letters that lines may cross."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.15,
    "axes.prop_cycle": cycler(color=CYCLE),
}


@contextmanager
def styled() -> Iterator[None]:
    """Our settings inside the block only: a caller's own matplotlib style comes back afterwards."""
    with mpl.rc_context(RC):
        yield


def canvas(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (8.0, 4.2), **options: Any
) -> tuple[Figure, Any]:
    """A figure without pyplot (no global state, no display), and its axes as a 2-d array."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def short(key: str) -> str:
    """A searched key without its group where the rest says enough: ``controllers.omega.weight`` -> ``omega.weight``."""
    return key.removeprefix("controllers.")


def brief(value: float, sign: str = "") -> str:
    """A number of a table: whole from 10 on, two digits below.

    Args:
        value: the number.
        sign: ``+``: positive numbers show theirs.

    Example:
        >>> brief(63.2), brief(4.0), brief(0.128), brief(3.7, "+")
        ('63', '4', '0.13', '+3.7')
    """
    return f"{value:{sign}.{0 if abs(value) >= 9.95 else 2}{'f' if abs(value) >= 9.95 else 'g'}}"


def number(value: float) -> str:
    """A number as a reader wants it: four digits, thousands apart.

    Example:
        >>> number(0.123456), number(12000.0), number(3e-07)
        ('0.1235', '12 000', '3e-07')
    """
    # beyond 2**53 the digits of a float mean nothing
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.4g}"


class PlainLogLocator(Locator):
    """Ticks of a logarithmic axis at round numbers: 1, 2, 5 per decade, powers of ten over many, else as on a line.

    Matplotlib's own locator falls back to unlabelled or minor ticks on less than a decade, which its formatter then
    writes as 1.384 x 10^0.
    """

    def __call__(self) -> Any:
        """Ticks for the axis as it is now."""
        assert self.axis is not None  # set by matplotlib when the locator is given to an axis
        return self.tick_values(*sorted(self.axis.get_view_interval()))

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Ticks from `vmin` to `vmax`, both > 0."""
        # a view that reaches 0 or below has no logarithm
        low, high = max(vmin, 1e-300), max(vmax, 1e-300)
        decades = math.log10(high / low)
        if decades < 1:
            ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
            return ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        factors, stride = ((1.0, 2.0, 5.0), 1) if decades < 3 else ((1.0,), max(1, round(decades / 6)))
        ticks = np.array([factor * 10.0**power for power in range(first, last + 1, stride) for factor in factors])
        return ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]


def plain_log(axes: Axes, which: str = "x") -> None:
    """A logarithmic axis whose ticks are plain numbers."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(PlainLogLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def objective_colours(minimize: bool, low: float, high: float) -> ScalarMappable:
    """Objective -> colour: the better, the darker (cividis, made for colour-vision deficiencies)."""
    # one value only has no scale
    return ScalarMappable(Normalize(low, high if high > low else low + 1), "cividis" if minimize else "cividis_r")


def panels(count: int, height: float, across: int = 3, **options: bool) -> tuple[Figure, Any]:
    """A grid of `count` panels, `across` to a row (two where that fills the rows), spare ones hidden."""
    columns = 2 if count in (2, 4) else min(across, count)
    rows = math.ceil(count / columns)
    figure, grid = canvas(rows, columns, size=(max(5.2, 10.4 if columns > 1 else 5.2), height * rows + 0.4), **options)
    for axes in list(grid.flat)[count:]:
        axes.set_visible(False)
    return figure, grid


def one_legend(figure: Figure, grid: Any) -> None:
    """One legend for all panels: a fate may be absent from the first."""
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles) or 1)


def inner_legend(axes: Axes, **options: Any) -> None:
    """A legend inside the axes, on a ground of its own: curves pass behind its words."""
    axes.legend(frameon=True, facecolor="white", edgecolor="none", framealpha=0.85, **options)


def note(axes: Axes, text: str) -> None:
    """A small remark in the upper right corner, above the axes."""
    axes.text(1.0, 1.015, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5, color=GREY)


def chance_line(axes: Axes, chance: float | None) -> None:
    """A dotted line where a network that knows nothing would be."""
    if chance is None:
        return
    axes.axhline(chance, color=GREY, linestyle=(0, (2, 2)), linewidth=1)
    axes.annotate(
        "chance",
        (1.0, chance),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=GREY,
        path_effects=[HALO],
        annotation_clip=False,
    )
