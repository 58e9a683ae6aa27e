"""One self-contained HTML page per sweep, with the same figures as PNG and the tables as CSV beside it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from rnnsweep.report import interactive, page_tables
from rnnsweep.report.atomic_files import remove_drafts, write
from rnnsweep.report.data import SweepData
from rnnsweep.report.overview import overview as draw_overview
from rnnsweep.report.scores import best_score, with_scores
from rnnsweep.report.sections import SECTIONS, Section
from rnnsweep.report.style import number, short
from rnnsweep.wording import counted

DPI = 144
FORMATS = ("svg", "pdf")
"""Vector formats that may be asked for beside the PNG."""
_UNDATED: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None},
}
"""Format -> metadata without the time of writing: equal data give equal files."""
_FORMER = ("interactive.html",)
"""Files of earlier versions that would now show an old state."""


def write_overview(data: SweepData, folder: Path) -> Path | None:
    """Write `overview.png`; None where there is nothing to draw yet."""
    figure = draw_overview(data)
    if figure is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder / "overview.png", drawn(figure))


def write_report(data: SweepData, folder: Path, formats: Sequence[str] = (), *, overview: bool = True) -> Path:
    """Write figures, tables and `index.html` into `folder`; returns the page's path.

    Files are replaced one by one by rename, so that a reader never meets half a picture. Figures that the sweep
    cannot fill yet are left out, and files of theirs from an earlier report are removed, as are drafts of reports that
    were killed.

    Args:
        data: the sweep.
        folder: made if need be.
        formats: of `FORMATS`, beside the PNG.
        overview: False where it is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_drafts(folder)
    for name in _FORMER:
        (folder / name).unlink(missing_ok=True)
    if overview:
        write_overview(data, folder)
    playable = interactive.figures(data)
    # one draws, the other compresses: half of a picture's time, for which Python's lock is not needed
    with ThreadPoolExecutor(1, "pictures") as pictures:
        drawn_parts = [part for section in SECTIONS if (part := _part(section, data, folder, formats, pictures))]
    parts = [{**part, "src": part["src"].result() if part["src"] else ""} for part in drawn_parts]
    for name, table in page_tables.TABLES.items():
        write(folder / f"{name}.csv", table(data).to_csv(index=False).encode())
    # last: whoever sees the new page finds its files
    return write(folder / "index.html", render(data, parts, playable).encode())


def _part(
    section: Section, data: SweepData, folder: Path, formats: Sequence[str], pictures: Executor
) -> dict[str, Any] | None:
    """A section's files, and what the page shows of it; None where it has nothing to show or say."""
    figure = section.draw(data)
    image: Future[str] | None = None
    for kind in ("png", *FORMATS):
        target = folder / f"{section.slug}.{kind}"
        if figure is None or kind not in ("png", *formats):
            target.unlink(missing_ok=True)  # an earlier report's picture would be a lie
        elif kind == "png":
            image = pictures.submit(_written, pixels(figure), target)
        else:
            write(target, drawn(figure, kind))
    answer = section.answer(data) if section.answer else ""
    if figure is None and not answer:
        return None
    table = section.table(data) if section.table else None
    return {
        "slug": section.slug,
        "title": section.title,
        "caption": section.caption if figure is not None else "",
        "src": image,
        "answer": answer,
        "caution": section.caution(data) if section.caution and figure is not None else "",
        "table": None if table is None or table.empty else table.rename(columns=short),
        "interactive": section.interactive,
    }


def drawn(figure: Figure, kind: str = "png") -> bytes:
    """A figure as PNG, SVG or PDF, without the time of writing: equal data give equal files."""
    if kind == "png":
        return _png(pixels(figure))
    _lay_out(figure)
    buffer = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "rnnsweep"}):  # journals refuse fonts of type 3
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=_UNDATED[kind])
    return buffer.getvalue()


def pixels(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    _lay_out(figure)
    buffer = io.BytesIO()
    # as bitmaps are stored, without compression
    figure.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"format": "ppm"})
    return Image.open(buffer)


def _lay_out(figure: Figure) -> None:
    """Once: saving a figure that still has its engine lays it out and draws it twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png", dpi=(DPI, DPI))
    return buffer.getvalue()


def _written(picture: Image.Image, target: Path) -> str:
    """A picture as a file, and for the page."""
    write(target, _png(picture))
    return embed(picture)


def embed(picture: Image.Image) -> str:
    """A picture as a data URL, in 256 colours: a third of the size, and no figure of ours has more to tell."""
    buffer = io.BytesIO()
    picture = picture.convert("RGB")
    # ten times as fast as the other methods, and 1 of 255 darker: what was white is so again
    picture = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.putpalette([255 if level == 254 else level for level in picture.getpalette() or ()])
    picture.save(buffer, "png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def render(data: SweepData, parts: list[dict[str, Any]], playable: dict[str, str]) -> str:
    """The page as text; everything from the sweep is escaped.

    Args:
        data: the sweep.
        parts: of `_part`, in order.
        playable: name -> figure to play with; plotly's script travels with the page if there is one.
    """
    # StrictUndefined: a typing error in the template fails instead of leaving a gap
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(cell=cell, counted=counted)
    source = resources.files("rnnsweep.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        data=data,
        facts=facts(data),
        parts=parts,
        playable=playable,
        script=interactive.packed_script() if playable else "",
        best=with_scores(data, page_tables.best(data)).rename(columns=short),
        lost=page_tables.lost(data),
        reasons=page_tables.reasons(data),
        mixed=page_tables.some(data.mixed),
        use=page_tables.use(data),
        all_trials=with_scores(data, page_tables.trials(data))
        .drop(columns=["started", "finished", "unsolved"], errors="ignore")
        .rename(columns=short),
    )


def facts(data: SweepData) -> list[tuple[str, str]]:
    """The numbers at the top of the page: name and value."""
    counts = data.trials["state"].value_counts()
    done, tied = data.ranked, len(data.leaders)
    replicas = data.replicas[data.replicas["trial"].isin(data.scored["trial"])]
    best = best_score(data) if len(done) else "–"
    winner = f"#{done['trial'].iloc[0]}" if len(done) else "–"
    numbers = [
        (f"best {data.objective.metric}", best),
        ("trial" if tied < 2 else f"first of {tied} that tie", winner),
        ("complete", f"{counts.get('COMPLETE', 0)} of {len(data.trials)}"),
        ("pruned", str(counts.get("PRUNED", 0))),
        ("failed", str(counts.get("FAILED", 0))),
        ("diverged", _diverged(data)),
        ("solved replicas", f"{int(replicas['solved_at'].notna().sum())} of {len(replicas)}"),
        ("wall time", _duration(data.totals.get("wall_s", 0.0))),
        ("updates", number(data.totals.get("updates", 0))),
    ]
    return numbers + ([("asks that knew results", _informed(data))] if "informed" in data.trials else [])


def _diverged(data: SweepData) -> str:
    """How many trials have a diverged replica, and when the first one did."""
    first = data.trials.loc[data.trials["diverged_share"] > 0, "diverged_at"].dropna()
    return f"{len(first)}, first at {number(float(first.min()))}" if len(first) else "0"


def _informed(data: SweepData) -> str:
    """How many trials the sampler asked for with results in hand: those before are drawn blindly."""
    known = data.trials["informed"].dropna()
    return f"{int((known > 0).sum())} of {len(known)}"


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
