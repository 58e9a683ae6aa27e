"""A race of real trainings: the same whoever trains beside whom, and one number for a trial wherever it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import rnnsweep

TINY = (
    *("task.length=10", "family.hidden=4", "training.eval_size=50", "training.batch=4", "engine=reference"),
    *("cluster=inline", "store.optuna=none", "sampler=random", "pruner=none", "objective.metric=valid/loss"),
    *("training.report_every=10", "budget.updates=20", "budget.trials=6", "training.stop_solved=false"),
    *("replicas=4", "racing.level=0.6", "racing.block=1", "space={optimizer.lr:tag(log,interval(0.001,1))}"),
)


def raced(store: Path, *overrides: str) -> tuple[list[dict[str, Any]], Any]:
    sweep = rnnsweep.launch("search", ["name=raced", *TINY, *overrides], store=store, progress=False)
    rows = [{key: row[key] for key in ("trial", "state", "objective", "params", "reason")} for row in sweep.table()]
    return rows, sweep


def test_a_race_is_the_same_in_small_packs_and_in_large_ones(tmp_path: Path) -> None:
    rows, sweep = raced(tmp_path / "wide", "tracker=csv")
    narrow, _ = raced(tmp_path / "narrow", "tracker=none", "cluster.rows=1")
    assert narrow == rows
    assert {row["state"] for row in rows} == {"COMPLETE", "PRUNED"}
    replicas = sweep.replicas().groupby("trial")["value"]
    points = pd.read_csv(next((tmp_path / "wide").rglob("curves.csv")))
    for row in rows:
        trial = row["trial"]
        trained = replicas.count()[trial]
        if row["state"] == "PRUNED":
            assert f"raced out with {trained} of 4 replicas" in row["reason"]
        else:
            assert trained == 4
        # the trial's number is over the replicas that it has, in the table as in what trackers write
        assert abs(replicas.mean()[trial] - row["objective"]) < 1e-12
        own = points[(points["trial"] == trial) & (points["metric"] == "objective")]
        assert list(own["step"]) == [10, 20]
        assert own["value"].iloc[-1] == row["objective"]


def test_a_trial_that_has_lost_its_race_is_trained_again_with_the_replicas_that_it_had(tmp_path: Path) -> None:
    rows, sweep = raced(tmp_path, "tracker=none")
    lost = next(row["trial"] for row in rows if row["state"] == "PRUNED")
    again = rnnsweep.replay(sweep, lost)
    assert again.equal
    assert again.compared == 2 * sweep.replicas().groupby("trial")["value"].count()[lost]
