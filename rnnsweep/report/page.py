"""One self-contained HTML page per sweep, with the same figures as PNG and the tables as CSV beside it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from rnnsweep.report import contours, dynamics, history, interactive, overview, profiles, searched, solving, tables, use
from rnnsweep.report.data import SweepData
from rnnsweep.report.drafts import write_whole
from rnnsweep.report.style import number, short

DPI = 144
INTERACTIVE = "interactive.html"


@dataclass(frozen=True)
class Section:
    """A figure of the page.

    Attributes:
        slug: file name without ending, anchor on the page.
        title: heading.
        caption: how to read it.
        draw: draws it; None where the sweep has nothing to show yet.
    """

    slug: str
    title: str
    caption: str
    draw: Callable[[SweepData], Figure | None]


SECTIONS = (
    Section(
        "history",
        "Optimisation history",
        "Every trial in the order it was asked. The staircase is the best complete trial so far.",
        history.history,
    ),
    Section(
        "best_so_far",
        "Best so far, and how sure",
        "Each orange group shows the replicas (seeds) of a trial when it took the lead: a wide group means luck.",
        history.best_so_far,
    ),
    Section(
        "importances",
        "Which keys mattered",
        "How much each searched key separates the best tenth of the trials from all (PED-ANOVA), as shares of 1.",
        searched.importances,
    ),
    Section(
        "slices",
        "Objective by key",
        "One point per trial. Choices are spread sideways so that none hides.",
        searched.slices,
    ),
    Section(
        "contours",
        "Objective over pairs of keys",
        "The most important keys, two by two. Points are trials; the surface between is interpolated, not measured.",
        contours.contours,
    ),
    Section(
        "parallel",
        "Parallel coordinates",
        "One line per trial; the three best are drawn thick. Axes run over the search ranges.",
        searched.parallel,
    ),
    Section(
        "solved_share",
        "Solved share by key",
        "Share of replicas that solved the task with 95 % Wilson intervals; ranges are cut into fifths of the trials.",
        searched.solved_share,
    ),
    Section(
        "solved_over_updates",
        "How fast the task was solved",
        "Replicas solved by each update, of all that ended.",
        solving.solved_over_updates,
    ),
    Section(
        "updates_to_solve",
        "Updates to solve",
        "Replicas of the best trials. Open triangles are censored: not solved by the end of their budget.",
        solving.updates_to_solve,
    ),
    Section(
        "dynamics",
        "Training of the best trials",
        "Mean over replicas, with every replica as a thin line. Panels of controllers that are off are left out.",
        dynamics.dynamics,
    ),
    Section(
        "profiles",
        "How far errors reach back",
        "Norm of the backpropagated error against depth at the start, in the middle and at the end of training. A line "
        "that falls is a vanishing gradient, one that rises an exploding one.",
        profiles.profiles,
    ),
    Section(
        "use",
        "Time and device use",
        "Trials in training over the time of the sweep, and the device seconds by what became of the trial.",
        use.use,
    ),
)


def write_overview(data: SweepData, folder: Path) -> Path | None:
    """Write `overview.png`; None where there is nothing to draw yet."""
    figure = overview.overview(data)
    if figure is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return write_whole(folder / "overview.png", png(figure))


def write_report(data: SweepData, folder: Path) -> Path:
    """Write figures, tables and `index.html` into `folder`; returns the page's path.

    Files are replaced one by one by rename, so that a reader never meets half a picture. Figures that the sweep
    cannot fill yet are left out, and files of theirs from an earlier report are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    write_overview(data, folder)
    for section in SECTIONS:
        figure = section.draw(data)
        target = folder / f"{section.slug}.png"
        if figure is None:
            target.unlink(missing_ok=True)
            continue
        image = png(figure)
        write_whole(target, image)
        figures.append({"slug": section.slug, "title": section.title, "caption": section.caption, "src": embed(image)})
    page = interactive.interactive(data)
    (folder / INTERACTIVE).unlink(missing_ok=True)
    if page is not None:
        write_whole(folder / INTERACTIVE, page.encode())
    for name, table in tables.TABLES.items():
        write_whole(folder / f"{name}.csv", table(data).to_csv(index=False).encode())
    return write_whole(folder / "index.html", render(data, figures, INTERACTIVE if page else None).encode())


def png(figure: Figure) -> bytes:
    """A figure as PNG, without the time of writing: equal data give equal files."""
    engine = figure.get_layout_engine()
    if engine is not None:  # once: saving a figure that still has its engine lays it out and draws it twice
        engine.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def embed(image: bytes) -> str:
    """A picture as a data URL."""
    return "data:image/png;base64," + base64.b64encode(image).decode()


def render(data: SweepData, figures: list[dict[str, str]], other: str | None = None) -> str:
    """The page as text; everything from the sweep is escaped. `other` is the interactive page beside it."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cell"] = cell
    source = resources.files("rnnsweep.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    best = tables.best(data)
    return environment.from_string(source).render(
        data=data,
        other=other,
        facts=facts(data),
        figures=figures,
        best=best.rename(columns=short),
        lost=tables.lost(data),
        use=tables.use(data),
        all_trials=tables.trials(data).drop(columns=["started", "finished"]).rename(columns=short),
    )


def facts(data: SweepData) -> list[tuple[str, str]]:
    """The numbers at the top of the page."""
    counts = data.trials["state"].value_counts()
    done = data.ranked
    replicas = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    best = f"{number(float(done['objective'].iloc[0]))}" if len(done) else "–"
    return [
        (f"best {data.objective.metric}", best),
        ("trial", f"#{done['trial'].iloc[0]}" if len(done) else "–"),
        ("complete", f"{counts.get('COMPLETE', 0)} of {len(data.trials)}"),
        ("pruned", str(counts.get("PRUNED", 0))),
        ("failed", str(counts.get("FAILED", 0))),
        ("solved replicas", f"{int(replicas['solved_at'].notna().sum())} of {len(replicas)}"),
        ("wall time", _duration(data.totals.get("wall_s", 0.0))),
        ("updates", number(data.totals.get("updates", 0))),
    ]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def cell(value: Any) -> str:
    """A table cell: numbers short, a dash for what is missing, `off` for an infinite limit."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "off"  # an infinite limit is none
    return number(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
