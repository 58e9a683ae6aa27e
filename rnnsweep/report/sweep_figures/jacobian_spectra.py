"""Singular values of products of Jacobians against the lag."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.style import GREY, canvas, styled
from rnnsweep.report.sweep_figures.axis import Axis, curves

_PANELS = {"largest": "Largest singular value", "rms": "Root mean square", "median": "Median"}


def jacobian_spectra(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """One panel per summary of the spectrum: largest, root mean square, median.

    Args:
        tables: ``singular_values``. axis: what the rows are told apart by.
    """
    values = tables["singular_values"]
    with styled():
        figure, grid = canvas(1, 3, size=(11.6, 3.9), sharex=True)
        for axes, (column, title) in zip(grid[0], _PANELS.items(), strict=True):
            curves(axes, values.dropna(subset=[column]), axis, "lag", column)
            axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_title(title)
            axes.set_xlabel("lag (steps)")
        grid[0, 0].set_ylabel(r"$\log_{10} \sigma(\partial s_T / \partial s_{T-\mathrm{lag}})$")
        axis.explain(figure, grid[0, -1])
    return figure
