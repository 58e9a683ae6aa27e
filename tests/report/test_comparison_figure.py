"""Points stand where they were measured."""

from __future__ import annotations

import pytest

from rnnsweep.report.comparison import ReplicaResult, compare
from rnnsweep.report.comparison_figure import figure
from rnnsweep.report.published import TABLES


def test_a_length_of_20_is_drawn_at_20():
    rows = [f"sigmoid, {method}" for method in ("MSGD", "MSGD-C", "MSGD-CR")]
    results = [ReplicaResult(row, "T = 20", True, 100, 100) for row in rows]
    axes = figure(compare(TABLES["pascanu_fig7"], "smoke", results, [])).axes[0]
    places = [float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata())]
    assert places == [20.0, 20.0, 20.0]
    assert axes.get_xticks().tolist() == [20, 50, 100, 150, 200]


@pytest.mark.parametrize("name", ["pascanu_fig7", "chernodub_table1", "pascanu_pathological"])
def test_every_table_can_be_drawn(name):
    table = TABLES[name]
    place = table.cells[0]
    column = place.column.removesuffix(" best")
    results = [ReplicaResult(place.row, column, bool(i % 2), 100, 200, 50.0 + i) for i in range(4)]
    assert figure(compare(table, "small", results, [])) is not None
    assert figure(compare(table, "small", [], [])) is None
