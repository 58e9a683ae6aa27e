"""Choices have places and names, ranges keep their numbers, missing keys have neither."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rnnsweep.report.axis_values import choice_name, name_axis, positions, spread
from rnnsweep.sweep.space import Dimension, Space


def test_choices_have_places_and_ranges_keep_their_numbers(data):
    place, names = positions(data, "controllers.omega.weight", data.trials["controllers.omega.weight"])
    assert names == ["0", "1", "2", "4"]
    assert set(place) <= {0.0, 1.0, 2.0, 3.0}
    whole, _ = positions(data, "controllers.omega.weight", pd.Series([4, 0]))
    assert whole.tolist() == [3.0, 0.0]  # 4 and 4.0 are one choice
    place, names = positions(data, "init.sigma", data.trials["init.sigma"])
    assert names is None
    assert place.tolist() == data.trials["init.sigma"].tolist()


CHOICES = {
    "words": (("srn", "lstm"), ["srn", "lstm"]),
    "switch": ((False, True), ["False", "True"]),
    "limits": ((1.0, float("inf")), ["1", "off"]),
    "lengths": (([50, 100], [50, 200]), ["[50, 100]", "[50, 200]"]),
    "mixed": ((1, True, "1"), ["1", "True", "1"]),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_any_kind_of_choice_is_a_category(kind, data):
    choices, names = CHOICES[kind]
    other = dataclasses.replace(data, space=Space((Dimension("key", "categorical", choices=choices),)))
    values = pd.Series([*choices, None], dtype=object)
    place, shown = positions(other, "key", values)
    assert shown == names
    assert place.tolist()[:-1] == list(range(len(choices)))
    assert place.isna().iloc[-1]


def test_an_axis_of_choices_has_their_names_and_room(data):
    axes = Figure().subplots()
    name_axis(axes, data, "controllers.omega.weight", ["0", "1", "2", "4"])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "2", "4"]
    assert axes.get_xlim() == (-0.6, 3.6)
    name_axis(axes, data, "init.sigma", None)
    assert axes.get_xscale() == "log"


def test_points_of_a_choice_stay_in_its_strip():
    assert spread(pd.Series(range(1000))).abs().max() <= 0.21
    assert choice_name(0.5) == "0.5"
