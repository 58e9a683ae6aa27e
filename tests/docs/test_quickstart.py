"""The README's table says what the kept replicas say, and they are what the packaged sweep asks for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from rnnsweep.app.config.load import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("quickstart_table", ROOT / "benchmarks/quickstart.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frame(script):
    return pd.read_csv(script.RESULT)


def test_the_table_is_that_of_the_replicas(script, frame):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script.table(frame) in text
    assert script.placed(text, script.table(frame)) == text


def test_the_replicas_are_those_of_the_sweep(script, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = load("quickstart", check_units=False).plan
    assert sorted(frame["trial"].unique()) == list(range(plan.budget.trials))
    assert frame.groupby("trial").size().tolist() == [plan.replicas] * plan.budget.trials
    weights = next(dimension for dimension in plan.space if dimension.key == script.WEIGHT)
    assert set(frame[script.WEIGHT]) == set(weights.choices)
    rates = next(dimension for dimension in plan.space if dimension.key == script.RATE)
    assert frame[script.RATE].between(rates.low, rates.high).all()
    assert set(plan.space.keys) == {script.WEIGHT, script.RATE}
    assert ((frame["solved_at"] <= plan.budget.updates) | frame["solved_at"].isna()).all()


def test_what_is_said_of_it_holds(script, frame):
    """Every weight is trained at least twice as often as there are seeds, and Omega's gain is more than luck."""
    from rnnsweep.report.statistics import wilson

    groups = {weight: group["solved_at"] for weight, group in frame.groupby(script.WEIGHT)}
    assert min(map(len, groups.values())) >= 8
    without, most = groups[0.0], groups[4.0]
    assert wilson(int(without.count()), len(without))[1] < wilson(int(most.count()), len(most))[0]
