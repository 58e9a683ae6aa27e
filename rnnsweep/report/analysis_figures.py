"""Figures of the papers' analyses, from the frames that are saved as CSV beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rnnsweep.report.data import Frame
from rnnsweep.report.style import BLUE, GREY, INK, ORANGE, RED, canvas, inner_legend, note, styled


def bifurcation(points: Frame, folds: Frame, w: float) -> Figure:
    """Fixed points over the bias: attractors as solid lines, the border of their basins dashed, folds as dots.

    Args:
        points: b, x, stable; sorted by x, so that neighbours lie on one curve.
        folds: b, x of the bifurcations.
        w: feedback weight.
    """
    with styled():
        figure, grid = canvas(size=(8.2, 4.6))
        axes = grid[0, 0]
        # a new number wherever stability changes: each run is a line of its own
        runs = (points["stable"] != points["stable"].shift()).cumsum()
        named = set()
        for _, run in points.groupby(runs):
            stable = bool(run["stable"].iloc[0])
            name = "attractor" if stable else "basin boundary (unstable fixed point)"
            axes.plot(
                run["b"],
                run["x"],
                color=BLUE if stable else ORANGE,
                linestyle="-" if stable else (0, (4, 3)),
                linewidth=2.2,
                # one entry in the legend however many runs there are
                label=None if name in named else name,
            )
            named.add(name)
        axes.scatter(folds["b"], folds["x"], c=INK, s=42, zorder=4, label="bifurcation")
        for fold in folds.itertuples():
            axes.annotate(
                f"b = {fold.b:.4f}", (fold.b, fold.x), xytext=(9, -3), textcoords="offset points", fontsize=9, color=INK
            )
        axes.set(xlabel="bias b", ylabel="fixed point x = w σ(x) + b")
        axes.margins(x=0)
        note(axes, f"w = {w:g}")
        inner_legend(axes, loc="upper left")
    return figure


def error_surface(surface: Frame, walls: Frame, paths: Frame) -> Figure:
    """Error over weight and bias with the wall, and descents with and without clipping.

    Args:
        surface: w, b, error on a full grid.
        walls: w, b of the wall. paths: which, step, w, b.
    """
    table = surface.pivot(index="b", columns="w", values="error")
    w, b = table.columns.to_numpy(), table.index.to_numpy()
    with styled():
        figure, grid = canvas(size=(8.2, 4.9))
        axes = grid[0, 0]
        # rasterised: as vectors the grid would be megabytes
        image = axes.pcolormesh(w, b, table.to_numpy(), cmap="cividis", shading="nearest", rasterized=True)
        inside = walls[(walls["b"] >= b.min()) & (walls["b"] <= b.max())]
        axes.plot(inside["w"], inside["b"], color="white", linewidth=1.4, linestyle=(0, (4, 3)))
        middle = inside.iloc[len(inside) * 3 // 4]
        axes.annotate(
            "wall", (middle["w"], middle["b"]), xytext=(6, 8), textcoords="offset points", color="white", fontsize=10
        )
        for (which, path), colour in zip(paths.groupby("which", sort=False), (RED, ORANGE), strict=False):
            axes.plot(path["w"], path["b"], color=colour, linewidth=1.7, marker="o", markersize=3.5, label=which)
        axes.set(xlabel="weight w", ylabel="bias b", xlim=(w.min(), w.max()), ylim=(b.min(), b.max()))
        axes.grid(visible=False)
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=28)
        bar.set_label(r"error $(\sigma(x_{50}) - 0.7)^2$")
        bar.outline.set_visible(False)
        figure.legend(loc="outside lower center", ncols=4)
    return figure


QUANTITIES = {
    "delta": r"$\|\delta_t\|$",
    "inputs": r"$\|u_t^T \delta_t\|$",
    "recurrent": r"$\|h_{t-1}^T \delta_t\|$",
}
ERRORS = {"actual": "actual output error", "unit": "output error of norm 1"}


def gradient_norms(norms: Frame) -> Figure:
    """Norms against depth, one line per sigma, one column per quantity, one row per kind of output error.

    Args:
        norms: error, sigma, depth (steps back from the end), delta, inputs, recurrent.
    """
    sigmas = sorted(norms["sigma"].unique())
    colours = mpl.colormaps["viridis"]
    scale = LogNorm(sigmas[0] / 1.3, sigmas[-1] * 1.3)
    kinds = [kind for kind in ERRORS if kind in set(norms["error"])]
    with styled():
        figure, grid = canvas(len(kinds), 3, size=(11, 2.9 * len(kinds) + 0.5), sharex=True, sharey=True)
        for row, kind in zip(grid, kinds, strict=True):
            for axes, (quantity, title) in zip(row, QUANTITIES.items(), strict=True):
                for sigma in sigmas:
                    line = norms[(norms["error"] == kind) & (norms["sigma"] == sigma)]
                    # an error that has died out has no place on a logarithmic axis
                    line = line[line[quantity] > 0]
                    axes.plot(line["depth"], line[quantity], color=colours(scale(sigma)), label=f"{sigma:g}")
                axes.set_yscale("log")
                axes.set_title(f"{title}, {ERRORS[kind]}", fontsize=9.5, fontweight="normal")
            row[0].set_ylabel("mean per-sample norm")
        for axes in grid[-1]:
            axes.set_xlabel("depth (steps back)")
        _legend(figure, grid[0, 0], "σ of the initial weights:")
    return figure


def delta_norms(norms: Frame, activations: Frame) -> Figure:
    """Norms of backpropagated errors at some depths, and activations, over training.

    Args:
        norms: update, depth, delta. activations: update, mean, median.
    """
    depths: Sequence[int] = sorted(norms["depth"].unique())
    shades = mpl.colormaps["viridis"](np.linspace(0.05, 0.9, len(depths)))
    with styled():
        figure, grid = canvas(1, 2, size=(10.4, 3.9), sharex=True)
        for depth, shade in zip(depths, shades, strict=True):
            line = norms[(norms["depth"] == depth) & (norms["delta"] > 0)]
            grid[0, 0].plot(line["update"], line["delta"], color=shade, label=f"{depth}", linewidth=1.3)
        grid[0, 0].set_yscale("log")
        grid[0, 0].set(xlabel="updates", ylabel=r"mean per-sample $\|\delta_t\|$")
        inner_legend(grid[0, 0], title="steps back", ncols=2)
        for name, colour in (("mean", BLUE), ("median", ORANGE)):
            grid[0, 1].plot(activations["update"], activations[name], color=colour, label=name, linewidth=1.3)
        grid[0, 1].axhline(0, color=GREY, linewidth=0.8)
        grid[0, 1].set(xlabel="updates", ylabel="activations of the mini-batch")
        inner_legend(grid[0, 1])
    return figure


def _legend(figure: Figure, axes: Axes, title: str) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(9, len(names)), title=title)


CAPTIONS: Mapping[str, str] = {
    "bifurcation": "fixed points of one unit over its bias, basin boundary, two bifurcations (Pascanu 2013, figure 3)",
    "error_surface": "the wall in one unit's error; descents with and without clipping (Pascanu 2013, figure 6)",
    "gradient_norms": "backpropagated norms against depth for a range of init sigmas (Chernodub 2016, figure 1)",
    "delta_norms": "the same over training, with mean and median of the activations (Chernodub 2016, figure 2)",
}
"""Analysis -> what it shows."""
