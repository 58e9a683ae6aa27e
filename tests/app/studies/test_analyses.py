"""`rnnsweep analyze`: files, numbers, mistakes."""

from __future__ import annotations

import pandas as pd
import pytest

from rnnsweep.app.studies import analyses
from rnnsweep.errors import ConfigError

SMALL = ("task.length=12", "family.hidden=8", "training.batch=4", "budget.updates=6")


@pytest.mark.parametrize("name", sorted(analyses.ANALYSES))
def test_every_analysis_writes_a_figure_and_its_data(name, tmp_path):
    figure, *tables = analyses.analyze(name, SMALL if analyses.ANALYSES[name][1] else (), tmp_path / name)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert tables
    assert all(len(pd.read_csv(table)) for table in tables)
    assert name in analyses.names()


def test_bifurcation_data_hold_the_two_folds(tmp_path):
    analyses.analyze("bifurcation", out=tmp_path)
    folds = pd.read_csv(tmp_path / "bifurcations.csv")
    assert folds["b"].tolist() == pytest.approx([-2.655610, -2.344390], abs=1e-6)  # slope 1: see the core's test
    points = pd.read_csv(tmp_path / "fixed_points.csv")
    inside = points[points["b"].between(-2.65, -2.35)].groupby("b").size()
    assert set(inside) == {3}


def test_sigmas_spread_the_norms(tmp_path):
    analyses.analyze("gradient_norms", SMALL, tmp_path)
    norms = pd.read_csv(tmp_path / "norms.csv")
    deep = norms[(norms["depth"] == 11) & (norms["error"] == "unit")].set_index("sigma")["delta"]
    assert deep.is_monotonic_increasing
    assert deep.loc[0.03] < 1e-6 * deep.loc[0.3]  # |W| grows with sigma: (0.03 / 0.3)^11 = 1e-11 without saturation


def test_clipping_brings_the_descent_over_the_wall(tmp_path):
    analyses.analyze("error_surface", out=tmp_path)
    paths = pd.read_csv(tmp_path / "descents.csv")
    far = {which: path[["w", "b"]].diff().abs().max().max() for which, path in paths.groupby("which")}
    assert far["plain descent"] > 5 > 0.11 > far["gradient clipped to 0.1"]  # lr 1: a step is at most .1 long


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [("bifurcatoin", (), "bifurcation"), ("bifurcation", ("seed=1",), "no overrides")],
)
def test_mistakes(name, overrides, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        analyses.analyze(name, overrides, tmp_path / "none")
    assert not (tmp_path / "none").exists()
