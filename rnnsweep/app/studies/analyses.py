"""`rnnsweep analyze`: compute an analysis, draw it, save figure and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.load import load
from rnnsweep.core.build import build_program, build_units, row_hypers
from rnnsweep.errors import ConfigError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnnsweep.core.tile import Tile

    Frame = Any  # see report.data

SIGMAS = (0.03, 0.05, 0.07, 0.1, 0.13, 0.17, 0.22, 0.3)
CN16 = (
    "task=temporal_order",
    "task.variant=chernodub",
    "task.length=100",
    "family=srn",
    "family.hidden=100",
    "controllers=[]",
    "training.batch=100",
    "training.report_every=1",
    "optimizer=sgd",
    "optimizer.lr=0.001",
    "optimizer.momentum=0.9",
    "budget.updates=400",
    "dtype=float64",
    "engine=reference",
)
"""Setting of Chernodub, Nowicki (2016); float64 because small sigmas leave float32's range."""

QUICK = ("training.batch=10", "engine=auto")
"""For the analysis that trains."""

W = 5.0
Result = tuple["Figure", dict[str, "Frame"]]


def names() -> dict[str, str]:
    """Analysis -> what it shows."""
    from rnnsweep.report.analysis_figures import CAPTIONS

    return dict(CAPTIONS)


def analyze(name: str, overrides: Sequence[str] = (), out: Path | None = None) -> list[Path]:
    """Run an analysis; returns the files: the figure first, then the data.

    Args:
        name: see `names`.
        overrides: Hydra's grammar, for the analyses that train or backpropagate networks.
        out: folder; default ``analyses/NAME`` below the working directory.

    Raises:
        ConfigError: no such analysis, or overrides for one that takes none.
    """
    if name not in ANALYSES:
        raise ConfigError(
            "unknown analysis", key="NAME", value=name, allowed=list(ANALYSES), hint=nearest(name, ANALYSES)
        )
    compute, takes = ANALYSES[name]
    if overrides and not takes:
        raise ConfigError("takes no overrides", key=name, value=overrides[0], allowed="no overrides: the unit is fixed")
    figure, tables = compute(overrides) if takes else compute()
    return _save(out or Path("analyses") / name, name, figure, tables)


def _save(folder: Path, name: str, figure: Figure, tables: dict[str, Frame]) -> list[Path]:
    from rnnsweep.report.atomic_files import write
    from rnnsweep.report.page import drawn

    folder.mkdir(parents=True, exist_ok=True)
    files = [write(folder / f"{name}.png", drawn(figure))]
    for stem, table in tables.items():
        files.append(write(folder / f"{stem}.csv", table.to_csv(index=False).encode()))
    return files


def bifurcation() -> Result:
    """Fixed points of x = w sigma(x) + b, w = 5, over b."""
    import numpy as np
    import pandas as pd

    from rnnsweep.core.analyses.bifurcation import bifurcations, fixed_points
    from rnnsweep.report import analysis_figures as draw

    biases = np.unique(np.concatenate([np.linspace(-3.4, -1.6, 361), [b for b, _ in bifurcations(W)]]))
    rows = [{"b": b, "x": p.x, "stable": p.stable} for b in biases for p in fixed_points(W, float(b))]
    points = pd.DataFrame(rows).sort_values("x", ignore_index=True)
    folds = pd.DataFrame(bifurcations(W), columns=["b", "x"])
    return draw.bifurcation(points, folds, W), {"fixed_points": points, "bifurcations": folds}


def error_surface() -> Result:
    """(sigma(x_50) - .7)^2 over (w, b), the wall, and two descents that meet it."""
    import numpy as np
    import pandas as pd

    from rnnsweep.core.analyses.error_surface import UnitProblem, wall
    from rnnsweep.report import analysis_figures as draw

    problem = UnitProblem()
    w, b = np.meshgrid(np.linspace(3.0, 7.0, 241), np.linspace(-4.2, -1.2, 241))
    surface = pd.DataFrame({"w": w.ravel(), "b": b.ravel(), "error": problem.error(w, b).ravel()})
    line = np.linspace(3.0, 7.0, 241)
    walls = pd.DataFrame({"w": line, "b": wall(line)})
    frames = []
    for which, threshold in (("plain descent", np.inf), ("gradient clipped to 0.1", 0.1)):
        path = problem.descend(START, RATE, STEPS, threshold)
        frames.append(pd.DataFrame({"which": which, "step": range(len(path)), "w": path[:, 0], "b": path[:, 1]}))
    paths = pd.concat(frames)
    return draw.error_surface(surface, walls, paths), {"surface": surface, "wall": walls, "descents": paths}


START, RATE, STEPS = (5.6, -2.6), 1.0, 40
"""Where the two descents begin, on the plateau above the wall; their learning rate; their updates."""


def gradient_norms(overrides: Sequence[str] = ()) -> Result:
    """Backpropagated norms against depth, one row per init sigma; all rows see the same data."""
    import pandas as pd

    from rnnsweep.core.analyses import gradient_norms as core
    from rnnsweep.report import analysis_figures as draw

    parts = []
    for cut, tile in _tiles(overrides, SIGMAS):
        for kind in ("actual", "unit"):
            norms_by_depth = core.gradient_norms(tile, unit_error=kind == "unit")
            depth = range(norms_by_depth.delta.shape[1] - 1, -1, -1)
            for index, sigma in enumerate(SIGMAS[cut]):
                columns = {
                    name: getattr(norms_by_depth, name)[index].numpy() for name in ("delta", "inputs", "recurrent")
                }
                parts.append(pd.DataFrame({"error": kind, "sigma": sigma, "depth": depth, **columns}))
    norms = pd.concat(parts, ignore_index=True)
    return draw.gradient_norms(norms), {"norms": norms}


def delta_norms(overrides: Sequence[str] = ()) -> Result:
    """Delta norms at five depths, and activations, over the first updates of one network."""
    import pandas as pd

    from rnnsweep.core.analyses import delta_norms as core
    from rnnsweep.report import analysis_figures as draw

    ((_, tile),) = _tiles([*QUICK, *overrides], (None,))
    updates = int(tile.updates[0])
    steps = int(tile.program.task.max_length)
    watched = [round(share * (steps - 1)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    measured = core.delta_norms(tile, updates, max(1, updates // 200), watched)
    norms = pd.DataFrame(
        [
            {"update": update, "depth": steps - 1 - step, "delta": float(measured.delta[0, k, index])}
            for k, update in enumerate(measured.updates)
            for index, step in enumerate(measured.steps)
        ]
    )
    activations = pd.DataFrame(
        {"update": measured.updates, "mean": measured.mean[0].numpy(), "median": measured.median[0].numpy()}
    )
    return draw.delta_norms(norms, activations), {"norms": norms, "activations": activations}


def _tiles(overrides: Sequence[str], sigmas: Sequence[float | None]) -> list[tuple[slice, Tile]]:
    """A pack with one row per init sigma (None: as configured), all of replica 0."""
    import torch

    from rnnsweep.app.config.point import resolve_point
    from rnnsweep.core.build import initial_state
    from rnnsweep.core.pack import Member, Pack, Streams
    from rnnsweep.core.tile import tiles

    config = load(None, [*CN16, *overrides])
    streams = Streams(config.plan.seed, 0)
    pack: Pack | None = None
    for index, sigma in enumerate(sigmas):
        point = resolve_point(config.variants, {} if sigma is None else {"init.sigma": sigma})
        units = build_units(point)
        if pack is None:
            pack = Pack(build_program(point, units, torch.device("cpu")))
        member = Member(index, config.plan.budget.updates, row_hypers(units), streams)
        pack.join([(member, initial_state(pack.program, units, streams))])
    assert pack is not None
    return tiles(pack)


ANALYSES: dict[str, tuple[Callable[..., Result], bool]] = {
    "bifurcation": (bifurcation, False),
    "error_surface": (error_surface, False),
    "gradient_norms": (gradient_norms, True),
    "delta_norms": (delta_norms, True),
}
"""Name -> (what computes it, whether it takes overrides)."""
