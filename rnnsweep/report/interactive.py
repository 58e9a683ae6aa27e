"""A page to play with: parallel coordinates and the history by plotly, its script included, no network needed."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from rnnsweep.report.data import SweepData
from rnnsweep.report.searched import positions
from rnnsweep.report.style import number, short


def interactive(data: SweepData) -> str | None:
    """The page as text (about 5 MB, nearly all of it plotly's script); None with fewer than two scored trials."""
    scored = data.scored
    if len(scored) < 2 or not len(data.space):
        return None
    axes = [_axis(data, key) for key in data.space.keys]
    metric = data.label(data.objective.metric)
    values = scored["objective"].tolist()
    axes.append({"label": metric, "values": values})
    line = {"color": values, "colorscale": "Cividis", "showscale": True, "reversescale": not data.minimize}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=line))
    figure.update_layout(title=f"{data.name}: drag along an axis to choose trials", margin={"l": 90, "r": 60, "t": 110})
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id="parallel", default_height="720px")


def _axis(data: SweepData, key: str) -> dict[str, Any]:
    place, names = positions(data, key, data.scored[key])
    if names is not None:
        shown = {"tickvals": list(range(len(names))), "ticktext": names, "range": [0, max(1, len(names) - 1)]}
        return {"label": short(key), "values": place.tolist(), **shown}
    if data.logarithmic(key):
        dimension = next(d for d in data.space if d.key == key)
        ends = [math.log10(float(dimension.low or 1.0)), math.log10(float(dimension.high or 1.0))]
        ticks = [ends[0] + share * (ends[1] - ends[0]) for share in (0, 0.25, 0.5, 0.75, 1)]
        names = [number(float(f"{10**tick:.2g}")) for tick in ticks]
        values = [math.log10(value) for value in place]
        return {"label": short(key), "values": values, "range": ends, "tickvals": ticks, "ticktext": names}
    return {"label": short(key), "values": place.tolist()}
