"""Figures to play with, by plotly, inside the page: its script travels packed and is unpacked when they are reached."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import math
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from rnnsweep.report.axis_values import MISSING, positions
from rnnsweep.report.data import SweepData
from rnnsweep.report.fates import FATES, fate
from rnnsweep.report.search_history import objective_label, staircase
from rnnsweep.report.style import GREY, number, short


@functools.cache
def packed_script() -> str:
    """plotly's own script, gzipped, as base64: 1.9 MB instead of 4.6, and nothing to parse before it is wanted."""
    # mtime=0: gzip's head holds the time, and equal data shall give equal pages
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def figures(data: SweepData) -> dict[str, str]:
    """Name -> figure as JSON (data and layout); empty with fewer than two scored trials or nothing searched."""
    if len(data.scored) < 2 or not len(data.space):
        return {}
    return {"parallel-play": _text(_parallel(data)), "history-play": _text(_history(data))}


def _text(figure: go.Figure) -> str:
    # "<" may not stand in a script element: text of the sweep must not end it.
    return json.dumps(json.loads(str(figure.to_json())), separators=(",", ":")).replace("<", "\\u003c")


def _parallel(data: SweepData) -> go.Figure:
    """Parallel coordinates; a drag along an axis chooses trials."""
    scored = data.scored
    axes = [_axis(data, key) for key in data.space.keys]
    metric, values = data.label(data.objective.metric), scored["objective"].tolist()
    axes.append({"label": metric, "values": values})
    line = {"color": values, "colorscale": "Cividis", "showscale": True, "reversescale": not data.minimize}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=line))
    figure.update_layout(margin={"l": 70, "r": 50, "t": 60, "b": 30})
    return figure


def _axis(data: SweepData, key: str) -> dict[str, Any]:
    place, names = positions(data, key, data.scored[key])
    if names is not None:
        low, ticks = 0.0, [*map(float, range(len(names)))]
        high = max(1.0, float(len(names) - 1))
    else:
        dimension = data.dimension(key)
        low, high = float(dimension.low or 0.0), float(dimension.high or 0.0)
        if data.logarithmic(key):
            place, low, high = place.map(math.log10), math.log10(low), math.log10(high)
        ticks = [low + share * (high - low) for share in (0, 0.25, 0.5, 0.75, 1)]
        names = [_tick(tick, data.logarithmic(key)) for tick in ticks]
    if place.isna().any():  # a line must not break where the key does not exist
        below = low - 0.15 * ((high - low) or 1.0)
        place, ticks, names, low = place.fillna(below), [below, *ticks], [MISSING, *names], below
    return {"label": short(key), "values": place.tolist(), "range": [low, high], "tickvals": ticks, "ticktext": names}


def _tick(place: float, logarithmic: bool) -> str:
    return number(float(f"{10**place:.2g}")) if logarithmic else number(float(f"{place:.3g}"))


def _history(data: SweepData) -> go.Figure:
    """Every trial; the pointer over one shows what it was made of."""
    trials = data.scored.sort_values("trial")
    fates = fate(data, trials)
    symbols = {"o": "circle", "v": "triangle-down", "X": "x"}
    figure = go.Figure()
    _guides(figure, data)
    for kind in FATES:
        some = trials[fates == kind.name]
        if some.empty:
            continue
        figure.add_scatter(
            x=some["trial"].tolist(),
            y=some["objective"].tolist(),
            mode="markers",
            name=kind.name,
            marker={"color": kind.colour, "symbol": symbols[kind.marker], "size": 9},
            text=[_hover(data, row) for row in some.to_dict("records")],
            hoverinfo="text",
        )
    figure.update_layout(
        xaxis={"title": {"text": "trial"}},
        yaxis={"title": {"text": objective_label(data).replace("\n", "<br>")}},
        legend={"orientation": "h", "y": -0.2},
        margin={"l": 85, "r": 20, "t": 20, "b": 50},
    )
    return figure


def _guides(figure: go.Figure, data: SweepData) -> None:
    """What the points lie on or beside: the best so far, and what a network scores that knows nothing."""
    best = staircase(data)
    if len(best):
        stairs = {"mode": "lines", "line": {"shape": "hv", "color": GREY}, "hoverinfo": "skip"}
        figure.add_scatter(x=best["trial"].tolist(), y=best["best"].tolist(), name="best so far", **stairs)
    if data.chance is not None:
        dotted = {"dash": "dot", "width": 1, "color": GREY}
        figure.add_hline(y=data.chance, line=dotted, annotation_text="chance", annotation_position="bottom right")


def _hover(data: SweepData, row: dict[str, Any]) -> str:
    """A trial in a few lines; plotly reads them as HTML, so what came from the sweep is escaped."""
    values = {"objective": row["objective"], **{short(key): row[key] for key in data.space.keys}}
    lines = [f"trial {row['trial']}"]
    for name, value in values.items():
        known = value is not None and value == value  # a key that does not exist in this trial is NaN
        text = number(value) if known and isinstance(value, float) and math.isfinite(value) else str(value)
        lines += [f"{name} = {text.replace('&', '&amp;').replace('<', '&lt;')}"] if known else []
    return "<br>".join(lines)
