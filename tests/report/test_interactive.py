"""Figures to play with: whole, escaped, and packed with their script."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json

from rnnsweep.report.interactive import figures, packed_script
from rnnsweep.report.search_history import staircase
from rnnsweep.sweep.space import Dimension, Space


def test_figures_hold_every_scored_trial(data):
    made = {name: json.loads(text) for name, text in figures(data).items()}
    axes = made["parallel-play"]["data"][0]["dimensions"]
    assert [axis["label"] for axis in axes][:2] == ["clip.threshold", "omega.weight"]
    assert axes[1]["ticktext"] == ["0", "1", "2", "4"]
    traces = {trace["name"]: trace for trace in made["history-play"]["data"]}
    assert sum(len(trace["x"]) for name, trace in traces.items() if name != "best so far") == len(data.scored)
    # what the section's caption speaks of is in both of its figures
    assert traces["best so far"]["y"] == staircase(data)["best"].tolist()
    title = made["history-play"]["layout"]["yaxis"]["title"]["text"]
    assert title == "validation error, mean of 6<br>(lower is better)"
    assert {"solved", "not solved"} <= {trace["name"] for trace in made["history-play"]["data"]}


def test_lines_pass_where_a_key_does_not_exist(data):
    trials = data.trials.assign(**{"init.sigma": data.trials["init.sigma"].mask(data.trials["trial"] % 2 == 0)})
    (axis,) = (
        axis
        for axis in json.loads(figures(dataclasses.replace(data, trials=trials))["parallel-play"])["data"][0][
            "dimensions"
        ]
        if axis["label"] == "init.sigma"
    )
    assert None not in axis["values"]
    assert axis["ticktext"][0] == "–"
    assert min(axis["values"]) == axis["tickvals"][0] == axis["range"][0]


def test_text_of_the_sweep_can_end_no_script_and_is_no_html(data):
    evil = "</script><b>"
    space = Space((Dimension("family", "categorical", choices=(evil, "srn")),))
    trials = data.trials.assign(family=evil)
    made = figures(dataclasses.replace(data, space=space, trials=trials))
    assert not [text for text in made.values() if "<" in text]
    hovers = next(trace["text"] for trace in json.loads(made["history-play"])["data"] if "text" in trace)
    assert "&lt;/script>" in hovers[0]
    assert evil not in hovers[0]


def test_the_script_is_whole(data, empty):
    assert b"Plotly" in gzip.decompress(base64.b64decode(packed_script()))
    assert figures(empty) == {}
