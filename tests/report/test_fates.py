"""The legend's words: what is not solved is not called complete."""

from __future__ import annotations

import dataclasses

from matplotlib.figure import Figure

from rnnsweep.report.fates import FATES, fate, scatter_by_fate
from tests.report.conftest import one_key


def test_fate_of_trials(data):
    fates = fate(data, data.trials)
    assert fates[3] == "diverged"
    assert fates[5] == "pruned"
    assert fates[7] == "failed"
    complete = data.trials["state"] == "COMPLETE"
    assert set(fates[complete & data.trials["solved_at"].isna()]) == {"not solved", "diverged"}


def test_where_solving_means_nothing_complete_trials_are_complete():
    data = one_key({0.0: [[False, False]], 1.0: [[False, False]]})
    assert fate(data, data.trials).tolist() == ["complete", "complete"]
    asked = dataclasses.replace(data, objective=dataclasses.replace(data.objective, metric="solved_at"))
    assert fate(asked, asked.trials).tolist() == ["not solved", "not solved"]


def test_the_legend_names_the_fates_that_are_there(data):
    axes = Figure().subplots()
    scored = data.scored
    scatter_by_fate(axes, data, scored, scored["trial"], scored["objective"])
    names = axes.get_legend_handles_labels()[1]
    assert "complete" not in names
    assert names == [kind.name for kind in FATES if kind.name in set(fate(data, scored))]
