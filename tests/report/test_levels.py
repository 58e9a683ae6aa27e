"""Solved share by level: counts, intervals that know clusters, missing keys, ranges in fifths."""

from __future__ import annotations

import pytest

from rnnsweep.report.levels import levels, solved_share
from rnnsweep.report.statistics import wilson
from tests.report.conftest import one_key


def test_one_trial_per_level_shows_whether_omega_helps():
    data = one_key({0.0: [[False] * 7 + [True]], 2.0: [[True] * 7 + [False]]})
    table = levels(data)
    assert table["level"].tolist() == ["0", "2"]
    assert table["solved"].tolist() == [1, 7]
    # Wilson 1/8 and 7/8: (.0224, .4709) and its mirror image
    assert table["from"].tolist() == pytest.approx([0.02242, 0.52911], abs=1e-4)
    assert table["to"].tolist() == pytest.approx([0.47089, 0.97758], abs=1e-4)
    assert table["to"].iloc[0] < table["from"].iloc[1]  # apart


def test_replicas_of_one_trial_are_no_independent_evidence():
    data = one_key({1.0: [[True] * 5, [False] * 5, [True] * 5, [False] * 5]})
    (row,) = levels(data).to_dict("records")
    assert (row["trials"], row["replicas"], row["solved"]) == (4, 20, 10)
    assert (row["from"], row["to"]) == pytest.approx(wilson(2, 4))  # four trials decided, not twenty replicas


def test_ranges_are_cut_into_fifths(data):
    table = levels(data)
    own = table[table["key"] == "init.sigma"]
    assert len(own) == 5
    assert own["trials"].sum() == len(data.scored)
    assert own["replicas"].sum() == len(data.replicas[data.replicas["trial"].isin(data.scored["trial"])])


def test_nothing_solved_is_no_table():
    data = one_key({0.0: [[False, False]]})
    assert levels(data).empty
    assert solved_share(data) is None
