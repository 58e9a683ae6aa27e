"""Lyapunov spectra of a sweep's rows, and the largest exponent by key."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.style import GREY, canvas, styled
from rnnsweep.report.sweep_figures.axis import Axis, curves, points

_DEEPEST = -12.0
"""Exponents below it, nats per step, are directions that are forgotten within a step or two."""


def lyapunov(tables: Mapping[str, Frame], axis: Axis) -> Figure:
    """Left: spectra; middle: the largest exponent; right: Kaplan and Yorke's dimension, where whole spectra have one.

    Args:
        tables: ``spectrum`` and ``summary``. axis: what the rows are told apart by.
    """
    spectrum, summary = tables["spectrum"].replace([-np.inf], np.nan), tables["summary"]
    dimension = "dimension" in summary and bool((summary["dimension"] > 0).any())
    with styled():
        figure, grid = canvas(1, 3 if dimension else 2, size=(12.6 if dimension else 10.0, 4.0))
        spectra, largest = grid[0, 0], grid[0, 1]
        curves(spectra, spectrum, axis, "index", "exponent")
        spectra.set_ylim(bottom=max(_DEEPEST, np.nanmin(spectrum["exponent"], initial=0.0) - 0.1))
        spectra.set(xlabel="index i", ylabel="exponent λᵢ (nats / step)")
        spectra.set_title("Lyapunov spectrum")
        points(largest, summary.replace([-np.inf], np.nan), axis, "largest")
        largest.set_ylabel("largest exponent λ₁ (nats / step)")
        largest.set_title("Largest exponent")
        for axes in (spectra, largest):
            axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axis.dress(largest)
        if dimension:
            points(grid[0, 2], summary, axis, "dimension")
            grid[0, 2].set_ylabel("Kaplan-Yorke dimension")
            grid[0, 2].set_title("Attractor dimension")
            axis.dress(grid[0, 2])
        axis.explain(figure, grid[0, -1])
    return figure
