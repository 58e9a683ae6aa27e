"""Parallel coordinates: no line breaks, all choices are named."""

from __future__ import annotations

import dataclasses
import math

from rnnsweep.report.parallel import BELOW, parallel
from rnnsweep.sweep.space import Space


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_lines_pass_where_a_key_does_not_exist(data):
    conditional = dataclasses.replace(data.dimension("init.sigma"), when={"controllers.omega.weight": (1.0, 2.0, 4.0)})
    space = Space(tuple(conditional if d.key == "init.sigma" else d for d in data.space))
    absent = data.trials["controllers.omega.weight"] == 0
    trials = data.trials.assign(**{"init.sigma": data.trials["init.sigma"].mask(absent)})
    figure = parallel(dataclasses.replace(data, space=space, trials=trials))
    lines = [line.get_ydata() for line in figure.axes[0].lines]
    assert len(lines) == len(data.scored)
    assert not [line for line in lines if any(map(math.isnan, line))]
    assert sum(line[2] == BELOW for line in lines) == (absent & data.trials["objective"].notna()).sum()
    assert "–" in texts(figure)


def test_every_choice_has_its_name(data):
    assert {"0", "1", "2", "4"} <= set(texts(parallel(data)))
    assert "–" not in texts(parallel(data))


def test_no_label_is_lost_below_lines(data):
    """Left of the first axis no line runs; all others have a halo and lie above the lines."""
    axes = parallel(data).axes[0]
    highest = max(line.get_zorder() for line in axes.lines)
    for text in axes.texts:
        assert text.get_path_effects()
        assert text.get_zorder() > highest
        assert (text.get_ha() == "right") == (text.xy[0] == 0)
