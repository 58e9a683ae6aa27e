"""Published and ours side by side: shares, means, intervals, empty cells."""

from __future__ import annotations

import pandas as pd
import pytest

from rnnsweep.report import comparison as report
from rnnsweep.report.comparison import ReplicaResult, compare
from rnnsweep.report.comparison_figure import figure
from rnnsweep.report.published import TABLES
from rnnsweep.report.statistics import mean_interval


def fig7():
    solved = [ReplicaResult("basic tanh, MSGD-CR", "T = 20", True, at, at) for at in (3000, 1000, 2000)]
    return [*solved, *(ReplicaResult("basic tanh, MSGD-CR", "T = 20", False, None, 9000) for _ in range(2))]


def test_solved_share_with_interval_and_median_updates():
    found = compare(TABLES["pascanu_fig7"], "small", fig7(), ["shorter"])
    cell = found.cell("basic tanh, MSGD-CR", "T = 20")
    assert cell.ours == 60
    # Wilson, 3 of 5: (.6 + z2/10 -+ z sqrt(.24/5 + z2/100)) / (1 + z2/5) with z2 = 3.8415: .231 and .882
    assert (cell.low, cell.high) == pytest.approx((23.07, 88.24), abs=0.01)
    assert cell.note == "(3 000 updates)"  # the third of five times, two of them censored
    assert cell.replicas == 5


def test_cells_that_were_not_run_stay_empty():
    found = compare(TABLES["pascanu_fig7"], "small", fig7(), [])
    rest = [cell for cell in found.cells if (cell.row, cell.column) != ("basic tanh, MSGD-CR", "T = 20")]
    assert len(rest) == 44
    assert all(cell.ours is None and cell.text == "" and cell.replicas == 0 for cell in rest)
    assert figure(compare(TABLES["pascanu_fig7"], "small", [], [])) is None


def test_accuracies_best_and_mean_beside_the_published():
    results = [ReplicaResult("T=100 on", "adding", False, None, 100, accuracy) for accuracy in (90.0, 94.0, 98.0)]
    found = compare(TABLES["chernodub_table1"], "small", results, [])
    best, mean = found.cell("T=100 on", "adding best"), found.cell("T=100 on", "adding mean")
    assert (best.published, best.ours, best.low) == (">99", 98.0, None)
    assert (mean.published, mean.ours) == ("96", 94.0)
    # Student, 2 degrees of freedom: 4.3027 * 4 / sqrt(3) = 9.94
    assert (mean.low, mean.high) == pytest.approx((84.06, 100.0), abs=0.01)


def test_the_best_loss_is_the_smallest():
    results = [ReplicaResult("scoRNN", "copying", False, None, 100, loss) for loss in (0.5, 104.0)]
    found = compare(TABLES["orthogonal_memory"], "small", results, [])
    best, mean = found.cell("scoRNN", "copying best"), found.cell("scoRNN", "copying mean")
    assert (best.text, mean.ours, mean.low) == ("0.5", 52.25, 0.0)
    assert mean.high is not None
    assert mean.high > 104  # a loss has no upper end at which its interval could be cut
    single = compare(TABLES["orthogonal_memory"], "small", results[:1], []).cell("scoRNN", "copying mean")
    assert single.text == "0.5"


def test_one_replica_says_nothing_about_spread():
    assert mean_interval([50.0], 0.0, 100.0) == (0.0, 100.0)


def test_page_and_frames_hold_the_same_numbers():
    found = compare(TABLES["pascanu_fig7"], "small", fig7(), ["30 000 updates instead of 5 000 000"])
    text = report.markdown(found, "picture.png")
    assert "– / 60 [23, 88] (3 000 updates)" in text
    assert "- 30 000 updates instead of 5 000 000" in text
    assert "![" in text
    table = report.frame(found)
    assert table["ours"].notna().sum() == 1
    assert len(report.results_frame(found)) == 5
    assert isinstance(table, pd.DataFrame)


def test_the_unit_says_how_many_replicas_there_really_are():
    assert (
        compare(TABLES["pascanu_fig7"], "small", fig7(), []).unit
        == "% of replicas; replicas per cell: published: 5, ours: 5"
    )
    smoke = compare(TABLES["pascanu_fig7"], "smoke", fig7()[:1], [])
    assert smoke.unit.endswith("published: 5, ours: 1")
    assert "% of 5" not in report.markdown(smoke)
