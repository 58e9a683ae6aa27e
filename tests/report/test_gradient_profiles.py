"""Start, middle and end of training are three lines."""

from __future__ import annotations

import dataclasses

from rnnsweep.report.gradient_profiles import profiles


def names(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_three_moments_are_drawn(data):
    assert names(profiles(data)) == ["start, update 200", "middle, update 3 000", "end, update 6 000"]


def test_one_rung_is_the_end(data):
    one = data.profiles[data.profiles["when"] == "end"]
    assert names(profiles(dataclasses.replace(data, profiles=one))) == ["end, update 6 000"]


def test_the_update_of_a_moment_is_the_median_that_solved_at_is(data):
    """Replicas that solved end at 600, 1400, 3600 and 5600: solved_at is 1400, and no other median stands beside it."""
    some = data.profiles[(data.profiles["when"] == "end") & (data.profiles["replica"] < 4)]
    ends = some["replica"].map(dict(enumerate((600, 1400, 3600, 5600))))
    figure = profiles(dataclasses.replace(data, profiles=some.assign(update=ends)))
    assert names(figure) == ["end, update 1 400"]
