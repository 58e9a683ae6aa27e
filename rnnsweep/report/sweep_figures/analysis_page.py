"""Files of a sweep's analyses: tables as CSV or Parquet, figures as PNG, SVG or PDF, and one small page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from rnnsweep.report.atomic_files import remove_drafts, write
from rnnsweep.report.data import Frame
from rnnsweep.report.page import FORMATS, drawn, embed
from rnnsweep.report.sweep_figures.axis import Axis
from rnnsweep.report.sweep_figures.pictures import PICTURES


@dataclass(frozen=True)
class Part:
    """One analysis.

    Attributes:
        name: of the analysis.
        tables: its frames by name.
        settings: with what they were made.
    """

    name: str
    tables: Mapping[str, Frame]
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_analyses(
    folder: Path, sweep: str, parts: Sequence[Part], axis: Axis, formats: Sequence[str] = ()
) -> list[Path]:
    """Write all files below a folder; returns their paths, the page's first.

    Files are replaced one by one by rename. Analyses that are not among `parts` keep their files, but are no part of
    the new page.

    Args:
        folder: made if need be. sweep: its name.
        parts: the analyses. axis: what their figures tell rows apart by.
        formats: beside PNG and CSV: svg, pdf, parquet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_drafts(folder)
    files: list[Path] = []
    shown = []
    for part in parts:
        own = _files(folder, part, axis, formats)
        picture = PICTURES[part.name]
        shown.append(
            {
                "name": part.name,
                "title": picture.title,
                "caption": picture.caption,
                "src": embed(Image.open(own[0])),
                "files": [file.name for file in own],
                "settings": ", ".join(f"{key} = {value}" for key, value in part.settings.items()),
            }
        )
        files += own
    page = render(sweep, shown, _facts(parts, axis))
    return [write(folder / "index.html", page.encode()), *files]


def _files(folder: Path, part: Part, axis: Axis, formats: Sequence[str]) -> list[Path]:
    """The figure first, then the tables."""
    figure, files = PICTURES[part.name].draw(part.tables, axis), []
    for kind in ("png", *FORMATS):
        target = folder / f"{part.name}.{kind}"
        if kind == "png" or kind in formats:
            files.append(write(target, drawn(figure, kind)))
        else:
            target.unlink(missing_ok=True)  # an earlier picture would be of other rows
    for name, table in part.tables.items():
        stem = folder / f"{part.name}-{name}"
        files.append(write(stem.with_suffix(".csv"), table.to_csv(index=False).encode()))
        if "parquet" in formats:
            files.append(write(stem.with_suffix(".parquet"), parquet(table)))
        else:
            stem.with_suffix(".parquet").unlink(missing_ok=True)
    return files


def parquet(table: Frame) -> bytes:
    """A frame as Parquet; a column of choices of several types is text there."""
    mixed = {name: table[name].astype(str) for name in table if table[name].map(type).nunique() > 1}
    buffer = io.BytesIO()
    table.assign(**mixed).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _facts(parts: Sequence[Part], axis: Axis) -> list[tuple[str, str]]:
    rows = next(iter(parts[0].tables.values()))[["trial", "replica"]].drop_duplicates()
    return [("trials", str(rows["trial"].nunique())), ("rows", str(len(rows))), ("against", axis.label)]


def render(sweep: str, parts: Sequence[Mapping[str, Any]], facts: Sequence[tuple[str, str]]) -> str:
    """The page as text; everything from the sweep is escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("rnnsweep.report.sweep_figures").joinpath("analysis_page.html.j2")
    return environment.from_string(source.read_text(encoding="utf-8")).render(sweep=sweep, parts=parts, facts=facts)
