"""Bits per character: measured where the task has it, in ledger, MLflow and report; refused elsewhere."""

from __future__ import annotations

import math

import pytest

import rnnsweep
from rnnsweep.app.config.load import load
from rnnsweep.app.run.mlflow_mirror import options
from rnnsweep.core.tasks.char_lm import CharLm
from rnnsweep.errors import ConfigError

BITS = "valid/bits_per_character"
SMALL = (
    *("task=char_lm", "task.length=6", "family.hidden=4", "training.batch=3", "training.report_every=2"),
    *("training.eval_size=5", "budget.updates=4", "budget.trials=1", "replicas=1", "sampler=random", "cluster=inline"),
    *("store.optuna=none", "engine=reference", "optimizer.lr=interval(0.1,0.2)"),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    root = tmp_path_factory.mktemp("bits")
    overrides = ["name=bits", *SMALL, f"objective.metric={BITS}", "tracker=mlflow"]
    return root, rnnsweep.launch("search", [*overrides, "space={optimizer.lr:'interval(0.1,0.2)'}"], store=root)


def test_it_is_the_loss_in_bits_and_can_be_the_objective(sweep):
    _, found = sweep
    loss, bits = found.curves("valid/loss")["value"], found.curves(BITS)["value"]
    assert len(bits) == 2
    assert bits.tolist() == pytest.approx((loss / math.log(2)).tolist(), rel=1e-12)
    assert found.trials()["objective"].tolist() == [bits.iloc[-1]]


def test_mlflow_shows_it(sweep):
    import mlflow

    root, found = sweep
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("bits")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`rnnsweep.kind` = 'trial'")
    points = [point.value for point in client.get_metric_history(run.info.run_id, BITS)]
    assert points == pytest.approx(found.curves(BITS)["value"].tolist())


def test_the_report_draws_it(sweep):
    from rnnsweep.app.results.report_data import gather
    from rnnsweep.app.stores import place, reading_sweep
    from rnnsweep.report.dynamics import dynamics

    with reading_sweep(place(sweep[0]), "bits") as (ledger, view):
        figure = dynamics(gather(ledger, view))
    assert figure is not None
    assert "bits per character" in [axes.get_ylabel() for axes in figure.axes]


def test_a_diverged_replica_scores_ten_times_chance(tmp_path):
    config = load(None, ["task=char_lm", f"objective.metric={BITS}"], store=tmp_path)
    assert config.plan.objectives[0].worst == pytest.approx(10 * CharLm().chance_loss / math.log(2))
    assert BITS in options(config, None).metrics()  # type: ignore[arg-type]


def test_other_tasks_do_not_have_it(tmp_path):
    for task in ("adding", "choice(adding,char_lm)"):
        with pytest.raises(ConfigError, match="not all trials of this sweep would report it") as caught:
            load(None, [f"task={task}", f"objective.metric={BITS}"], store=tmp_path)
        assert caught.value.key == "objective.metric"
    config = load(None, ["task=adding"], store=tmp_path)
    assert BITS not in options(config, None).metrics()  # type: ignore[arg-type]
    assert BITS not in config.plan.worst
