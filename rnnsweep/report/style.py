"""Colours, fonts and axes that all figures share.

The palette is Okabe and Ito's, which stays apart under the common colour-vision deficiencies; markers differ too, so
that no figure depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GREY, INK, FAINT = "#56B4E9", "#CC79A7", "#8A8F98", "#1F2933", "#D9DEE4"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)

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


def number(value: float) -> str:
    """A number as a reader wants it: four digits, thousands apart.

    Example:
        >>> number(0.123456), number(12000.0), number(3e-07)
        ('0.1235', '12 000', '3e-07')
    """
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.4g}"


def plain_log(axes: Axes) -> None:
    """A logarithmic x axis with ticks at 1, 2, 5, 10, ... written as plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


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
        annotation_clip=False,
    )
