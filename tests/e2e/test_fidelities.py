"""Real sweeps whose trials grow: the same to the bit with few places, on two workers, and after kills."""

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

SMALL = (
    *("name=f", "sampler=random", "pruner=none", "tracker=none", "store.optuna=none", "engine=reference"),
    *("task=adding", "task.length=30", "family.hidden=6", "training.batch=4", "training.report_every=5"),
    *("training.eval_size=20", "budget.updates=60", "controllers=[clip]", "optimizer=adam"),
    *("objective.metric=valid/loss", "space={}", "optimizer.lr=tag(log,interval(0.001,0.3))"),
)
PROMOTED = (*SMALL, "budget.trials=9", "scheduler=asha", "scheduler.eta=3", "fidelity={task.length: [10, 20, 30]}")


def record(sweep: Sweep) -> tuple[Any, ...]:
    """All that may not depend on where and how often it was trained."""
    ledger = open_ledger(f"sqlite:///{sweep.place.root / 'ledger.db'}")
    try:
        reports = {
            (one.trial, one.replica, one.rung): (one.step, dict(one.metrics), one.state, one.solved_at)
            for one in ledger.reports("f")
        }
        views = {(view.number, view.state, view.values, view.rung, view.step) for view in ledger.trials("f")}
        return views, reports, sorted(ledger.verdicts("f"))
    finally:
        ledger.close()


def launch(store: Path, *overrides: str) -> Sweep:
    return rnnsweep.launch("search", overrides=["cluster=inline", *overrides], store=store)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return launch(tmp_path_factory.mktemp("pack"), *PROMOTED)


def test_trials_are_compared_at_one_fidelity_and_results_are_of_the_full_one(promoted: Sweep) -> None:
    trials = promoted.trials().set_index("trial")
    # milestones of eta 3 and one rung: after 5, 15 and 45 updates; the third level and the last are both full
    lengths = {5: 10, 15: 20, 45: 30, 60: 30}
    assert set(trials["step"]) >= {5, 15, 60}
    assert (trials["task.length"] == trials["step"].map(lengths)).all()
    # what never came to full fidelity has no objective, and is not the best of all, however small its value
    assert (trials["objective"].notna() == (trials["task.length"] == 30)).all()
    assert promoted.best.number in trials.index[trials["step"] == 60]
    rows = {row["trial"]: row for row in promoted.table()}
    early = int(trials.index[trials["step"] == 5][0])
    assert rows[early]["fidelity"] == {"task.length": 10}
    assert rows[early]["objective"] is None
    assert rows[early]["value"] == promoted.show(early)["curves"]["valid/loss"][-1][1]


def test_one_trial_alone_is_trained_again_to_the_bit_through_all_its_fidelities(promoted: Sweep) -> None:
    again = rnnsweep.replay(promoted, promoted.best.number)
    assert (again.equal, again.compared) == (True, 12), again.difference


def test_its_network_is_evaluated_at_full_fidelity(promoted: Sweep) -> None:
    assert promoted.best.load().evaluate(20)["loss"] > 0


@pytest.mark.slow
def test_with_fewer_places_it_is_the_same_sweep(promoted: Sweep, tmp_path: Path) -> None:
    """Rows meet others of other stages: what they come to does not depend on it. Verdicts of ASHA do on the order."""
    few = launch(tmp_path, *PROMOTED, "cluster.rows=2")
    common = record(few)[1].keys() & record(promoted)[1].keys()
    assert {rung for _, _, rung in common} >= {1, 2, 3}
    assert all(record(few)[1][key] == record(promoted)[1][key] for key in common)


def test_a_curriculum_is_trained_without_comparing_anybody(tmp_path: Path) -> None:
    """By update, as a plain sweep; a point that was trained under it is not trained again."""
    twice = ("budget.trials=2", "sampler.enqueue=[{optimizer.lr: 0.1}, {optimizer.lr: 0.1}]")
    grown = ("fidelity={task.length: {0: 10, 20: 30}}", *twice)
    sweep = launch(tmp_path, *SMALL, *grown)
    trials = sweep.trials()
    assert trials["same_as"].tolist()[1] == 0
    assert set(trials["state"]) == {"COMPLETE"}
    assert set(trials["task.length"]) == {30}
    assert rnnsweep.replay(sweep, 0).equal
    plain = launch(tmp_path, *SMALL, *grown, "name=plain", "fidelity={}")
    first = [one.show(0)["curves"]["train/loss"] for one in (sweep, plain)]
    assert first[0][0] != first[1][0], "it begins with shorter sequences"
    assert len(first[0]) == len(first[1]) == 12, "updates are counted as ever"


@pytest.mark.slow
def test_a_population_grows_together(tmp_path: Path) -> None:
    """States go over at rungs at which a stage begins, too: generations at 20 and 40, their effect a rung later."""
    pbt = ("scheduler=pbt", "scheduler.interval=15", "scheduler.quantile=0.34", "budget.trials=6")
    sweep = launch(tmp_path, *SMALL, *pbt, "fidelity={task.length: {0: 10, 20: 20, 35: 30}}")
    taken = [row["trial"] for row in sweep.table() if "parent" in row]
    assert taken
    for trial in taken:
        again = rnnsweep.replay(sweep, trial)
        assert again.equal, again.difference


@pytest.mark.slow
def test_more_updates_and_trials_on_a_resume_keep_the_stages(tmp_path: Path) -> None:
    sweep = launch(tmp_path, *SMALL, "budget.trials=2", "fidelity={task.length: [10, 30]}")
    more = rnnsweep.resume("f", overrides=["budget.updates=80", "budget.trials=3"], extend=True, store=tmp_path)
    trials = more.trials()
    assert set(trials["step"]) == {80}
    assert set(trials["task.length"]) == {30}
    assert [one.rung for one in plan_stages(more)] == [0, 6]
    assert rnnsweep.replay(more, 0).equal
    assert rnnsweep.replay(more, 2).equal
    assert sweep.name == more.name


def plan_stages(sweep: Sweep) -> Any:
    from rnnsweep.app.config.load import plan_of

    ledger = open_ledger(f"sqlite:///{sweep.place.root / 'ledger.db'}")
    try:
        view = ledger.sweep(sweep.name)
        assert view is not None
        return plan_of(view).stages
    finally:
        ledger.close()


@pytest.mark.slow
def test_on_two_workers_rows_are_the_same(tmp_path: Path) -> None:
    grown = (*SMALL, "budget.trials=6", "fidelity={task.length: {0: 10, 10: 20, 30: 30}}")
    two = ["cluster=local", "cluster.workers=2", "cluster.rows=3", "cluster.gpus_per_worker=0"]
    both = rnnsweep.launch("search", overrides=[*two, *grown], store=tmp_path / "two")
    assert record(both)[:2] == record(launch(tmp_path / "one", *grown))[:2]


@pytest.mark.slow
@pytest.mark.chaos
def test_killed_twice_and_resumed_it_is_the_same_table(tmp_path: Path) -> None:
    """A curriculum, none of whose decisions depend on timing: killed before and after the change."""
    grown = (*SMALL, "budget.trials=6", "fidelity={task.length: {0: 10, 20: 20, 30: 30}}")
    whole = launch(tmp_path / "whole", *grown)
    words = ["launch", "search", "cluster=inline", *grown]
    for rungs in (20, 40):
        process = begin(tmp_path, *words)
        await_rungs(tmp_path, "f", rungs, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        words = ["resume", "f"]
    command(tmp_path, "resume", "f")
    assert record(open_sweep("f", store=tmp_path)) == record(whole)
