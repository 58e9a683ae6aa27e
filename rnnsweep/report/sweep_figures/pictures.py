"""The analyses of trained sweeps: title, caption and figure of each, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.sweep_figures.axis import Axis
from rnnsweep.report.sweep_figures.bifurcation_diagram import bifurcation_diagram
from rnnsweep.report.sweep_figures.effective_memory import effective_memory
from rnnsweep.report.sweep_figures.fixed_points import fixed_points
from rnnsweep.report.sweep_figures.gradient_flow import gradient_flow
from rnnsweep.report.sweep_figures.jacobian_spectra import jacobian_spectra
from rnnsweep.report.sweep_figures.lyapunov import lyapunov
from rnnsweep.report.sweep_figures.portrait import portrait


@dataclass(frozen=True)
class Picture:
    """How an analysis is shown.

    Attributes:
        title: of its part of the page.
        caption: what it shows, in a line; also in the command's list.
        draw: the figure of its tables.
    """

    title: str
    caption: str
    draw: Callable[[Mapping[str, Frame], Axis], Figure]


PICTURES: Mapping[str, Picture] = {
    "fixed_points": Picture(
        "Fixed points", "fixed and slow points, and the eigenvalues of their linearisation", fixed_points
    ),
    "lyapunov": Picture(
        "Lyapunov exponents", "full spectra along the task's sequences; Kaplan-Yorke dimension", lyapunov
    ),
    "gradient_flow": Picture(
        "Gradient flow", "norm of the loss's gradient by the state, against the lag", gradient_flow
    ),
    "jacobian_spectra": Picture(
        "Jacobian spectra", "singular values of products of Jacobians, against the lag", jacobian_spectra
    ),
    "effective_memory": Picture(
        "Effective memory", "what is left of a changed input or state some steps later; half-lives", effective_memory
    ),
    "bifurcation_diagram": Picture(
        "Bifurcation diagram", "attractors without input and their exponents, over a searched key", bifurcation_diagram
    ),
    "portrait": Picture("Portraits", "trajectories and fixed points along principal components", portrait),
}
"""Name -> picture, in the order of the page."""
