"""Populations of real networks: the same to the bit in one pack, with few places, on two workers, and after kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import rnnsweep
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.results.sweep import Sweep, open_sweep
from tests.e2e.test_kill_and_resume import await_rungs, begin
from tests.e2e.test_kill_and_resume import rnnsweep as command

POPULATION = (
    *("name=p", "scheduler=pbt", "scheduler.interval=15", "scheduler.quantile=0.34", "sampler=random", "pruner=none"),
    *("tracker=none", "store.optuna=none", "engine=reference", "task=adding", "task.length=10", "family.hidden=6"),
    *("training.batch=4", "training.report_every=5", "training.eval_every=1", "training.eval_size=20"),
    *("budget.updates=60", "budget.trials=6", "controllers=[clip]", "optimizer=adam", "objective.metric=valid/loss"),
    *("space={}", "optimizer.lr=tag(log,interval(0.001,0.3))", "controllers.clip.threshold=tag(log,interval(0.1,10))"),
)


def record(sweep: Sweep) -> tuple[Any, ...]:
    """All that may not depend on where and how often it was trained: segments, rungs, reports."""
    ledger = open_ledger(f"sqlite:///{sweep.place.root / 'ledger.db'}")
    try:
        segments = {
            view.number: [(one.rung, one.source, one.state, dict(one.params)) for one in view.segments or ()]
            for view in ledger.trials("p")
        }
        reports = {
            (one.trial, one.replica, one.rung): (one.step, dict(one.metrics), one.state, one.solved_at)
            for one in ledger.reports("p")
        }
        verdicts = sorted(ledger.verdicts("p"))
        return segments, reports, verdicts
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def in_one_pack(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    store = tmp_path_factory.mktemp("pack")
    return rnnsweep.launch("search", overrides=["cluster=inline", *POPULATION], store=store)


@pytest.mark.slow
def test_with_fewer_places_than_members_it_is_the_same_population(in_one_pack: Sweep, tmp_path: Path) -> None:
    few = rnnsweep.launch("search", overrides=["cluster=inline", "cluster.rows=2", *POPULATION], store=tmp_path)
    assert sum(len(each) for each in record(in_one_pack)[0].values()) >= 4
    assert record(few) == record(in_one_pack)


@pytest.mark.slow
def test_a_lineage_is_trained_again_to_the_bit_and_its_schedule_is_known(in_one_pack: Sweep) -> None:
    numbers = [number for number, each in record(in_one_pack)[0].items() if each]
    longest = max(numbers, key=lambda number: len(in_one_pack.stretches(number)))
    again = rnnsweep.replay(in_one_pack, longest)
    assert again.equal, again.difference
    assert again.compared == 12
    stretches = in_one_pack.stretches(longest)
    assert len(stretches) == len(again.stretches) >= 2
    assert stretches[-1].trial == longest
    schedule = in_one_pack.lineage(longest)
    assert set(schedule) == {"optimizer.lr", "controllers.clip.threshold"}
    assert [step for step, _ in schedule["optimizer.lr"]] == [one.step for one in stretches]
    assert in_one_pack.trial(longest).point == stretches[-1].params
    assert in_one_pack.trial(longest).load().evaluate(20)["loss"] > 0


@pytest.mark.slow
def test_networks_that_have_diverged_go_on_from_one_that_has_not(tmp_path: Path) -> None:
    """Rates far beyond what training bears: most diverge at once, and end with a network all the same."""
    wild = ["optimizer=sgd", "family.activation=relu", "optimizer.lr=tag(log,interval(0.01,1e30))"]
    wild += ["controllers.clip.threshold=tag(log,interval(1,1e20))", "budget.trials=8"]
    sweep = rnnsweep.launch("search", overrides=["cluster=inline", *POPULATION, *wild], store=tmp_path)
    segments, reports, _ = record(sweep)
    fallen = {trial for (trial, _, rung), (*_, state, _) in reports.items() if state == "DIVERGED" and rung <= 3}
    assert fallen
    assert all(segments[trial][0][:1] == (4,) for trial in fallen)
    assert set(sweep.trials()["state"]) == {"COMPLETE"}
    assert rnnsweep.replay(sweep, min(fallen)).equal


@pytest.mark.slow
def test_on_two_workers_it_is_the_same_population(in_one_pack: Sweep, tmp_path: Path) -> None:
    two = ["cluster=local", "cluster.workers=2", "cluster.rows=3", "cluster.gpus_per_worker=0"]
    assert record(rnnsweep.launch("search", overrides=[*two, *POPULATION], store=tmp_path)) == record(in_one_pack)


@pytest.mark.slow
@pytest.mark.chaos
def test_killed_twice_and_resumed_it_is_the_same_population(in_one_pack: Sweep, tmp_path: Path) -> None:
    """Killed between a generation's verdicts and their effect, or thereabouts, and once more later."""
    launch = ["launch", "search", "cluster=inline", *POPULATION]
    for rungs, words in ((19, launch), (45, ["resume", "p"])):
        process = begin(tmp_path, *words)
        await_rungs(tmp_path, "p", rungs, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    command(tmp_path, "resume", "p")
    assert record(open_sweep("p", store=tmp_path)) == record(in_one_pack)
