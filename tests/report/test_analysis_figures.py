"""Figures of the papers' analyses draw what their frames say."""

from __future__ import annotations

import pandas as pd

from rnnsweep.report.analysis_figures import CAPTIONS, bifurcation, delta_norms, error_surface, gradient_norms


def test_bifurcation_tells_attractors_from_boundaries():
    points = pd.DataFrame({"b": [0.0, 1.0, 2.0], "x": [0.0, 1.0, 2.0], "stable": [True, False, True]})
    figure = bifurcation(points, pd.DataFrame({"b": [1.0], "x": [1.0]}), 5.0)
    names = figure.axes[0].get_legend_handles_labels()[1]
    assert names == ["attractor", "basin boundary (unstable fixed point)", "bifurcation"]


def test_surface_with_wall_and_paths():
    surface = pd.DataFrame([(w, b, w * b) for w in (1.0, 2.0) for b in (-1.0, 0.0)], columns=["w", "b", "error"])
    walls = pd.DataFrame({"w": [1.0, 1.5, 2.0, 2.0], "b": [-1.0, -0.5, 0.0, 0.0]})
    paths = pd.DataFrame({"which": ["plain", "plain"], "step": [0, 1], "w": [1.0, 2.0], "b": [-1.0, 0.0]})
    figure = error_surface(surface, walls, paths)
    assert figure.axes[0].get_xlabel() == "weight w"
    assert figure.axes[0].get_legend_handles_labels()[1] == ["plain"]


def test_one_line_per_sigma_and_kind_of_error():
    rows = [(kind, s, d, s, s, s) for kind in ("actual", "unit") for s in (0.1, 0.2) for d in range(3)]
    norms = pd.DataFrame(rows, columns=["error", "sigma", "depth", "delta", "inputs", "recurrent"])
    figure = gradient_norms(norms)
    assert len(figure.axes) == 6
    assert all(len(axes.lines) == 2 for axes in figure.axes)


def test_deltas_over_training():
    norms = pd.DataFrame({"update": [1, 2] * 2, "depth": [0, 0, 5, 5], "delta": [1.0, 0.5, 0.1, 0.01]})
    figure = delta_norms(norms, pd.DataFrame({"update": [1, 2], "mean": [0.0, 0.1], "median": [0.0, 0.1]}))
    assert len(figure.axes[0].lines) == 2
    assert set(CAPTIONS) == {"bifurcation", "error_surface", "gradient_norms", "delta_norms"}
