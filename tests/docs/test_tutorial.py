"""The tutorial's numbers are those of a real run of its sweep, and that run solves the task."""

from __future__ import annotations

import math
import os
import time

import pandas as pd
import pytest

import rnnsweep
from rnnsweep.app.config.load import load
from rnnsweep.app.results.tables import ties
from rnnsweep.sweep.summary import rank
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs/tutorial.md"
KEPT = ROOT / "docs/results/tutorial.csv"
"""What `rnnsweep table mine --csv` printed when the page was written."""
CHANCE = 0.75


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The sweep whose file the page has."""
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks(PAGE) if block.file == "sweeps/mine.yaml")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/mine.yaml").write_text(block.text, encoding="utf-8")
    return load("mine", check_units=False).plan


@pytest.fixture(scope="module")
def frame():
    return pd.read_csv(KEPT)


def test_the_best_five_of_the_page_are_those_of_the_run(plan, frame):
    (text,) = (block.text for block in blocks(PAGE) if block.text.startswith("best 5"))
    head, _, *shown = text.splitlines()
    complete = frame[frame["state"] == "COMPLETE"]
    (objective,) = plan.objectives

    def order(row):
        at = None if math.isnan(row.solved_at) else int(row.solved_at)
        return rank(objective, row.objective, at, row.trial)

    every = sorted(complete.itertuples(index=False), key=order)
    first = every[:5]
    assert len(shown) == len(first)
    entries = [{"trial": row.trial, "objective": row.objective, "solved_at": row.solved_at} for row in every]
    assert head == f"best 5 (trial {first[0].trial}: {ties(entries)})"
    for line, row in zip(shown, first, strict=True):
        trial, state, *numbers = line.split()
        assert (int(trial), state) == (row.trial, row.state)
        values = [row.objective, row.solved_at, *row[-2:]]
        assert [float(number) for number in numbers] == pytest.approx(values, abs=0.00005)


def test_the_run_is_that_of_the_page_s_sweep(plan, frame):
    assert frame["trial"].tolist() == list(range(plan.budget.trials))
    assert frame["step"].max() == plan.budget.updates
    clip, rate = plan.space
    assert set(frame[clip.key]) == set(map(float, clip.choices))
    assert frame[rate.key].between(rate.low, rate.high).all()


def test_the_best_solves_the_task_and_no_pruned_trial_is_better(frame):
    by_state = frame.groupby("state")["objective"].min()
    assert by_state["COMPLETE"] < 0.01 < by_state["PRUNED"]
    assert frame["objective"].max() > 0.9 * CHANCE  # the keys make a difference


@pytest.mark.study
def test_the_sweep_solves_its_task_in_the_promised_time(plan, tmp_path):
    began = time.monotonic()
    sweep = rnnsweep.launch("mine", ["tracker=none", "store.optuna=none"], store=tmp_path / "store", progress=False)
    seconds = time.monotonic() - began
    print(f"\n{plan.budget.trials} trials in {seconds:.0f} s at load {os.getloadavg()[0]:.1f}")
    assert sweep.best.objective < 0.01
    assert seconds < 600
