"""What a sweep learns from is looked up at its launch and kept: later sessions need no source."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.config.load import SweepConfig, load
from rnnsweep.app.run import warm_start
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.states import SweepState
from rnnsweep.sweep.views import SweepView


def learning(store: Path, *typed: str) -> SweepConfig:
    return load("search", ["name=new", *typed], store=store, check_units=False)


def test_a_sweep_of_another_store_with_other_keys(store: Path, tmp_path: Path) -> None:
    """The filled sweep searches what `search` does, but no momentum: that was what its config said."""
    here = tmp_path / "here"
    teacher = f"sampler.warm_start={{sweep: quickstart, store: '{store}'}}"
    config = learning(here, teacher, "optimizer.momentum=interval(0,0.9)")
    earlier = warm_start.gathered(config)
    assert earlier is not None
    complete = [view for view in _trials(store) if view.state.value == "COMPLETE"]
    assert [view.number for view in earlier.trials] == [view.number for view in complete]
    assert all(view.params["optimizer.momentum"] == config.resolved["optimizer"]["momentum"] for view in earlier.trials)
    assert earlier.told[0].startswith(f"sweep quickstart of {store}: ")


def _trials(store: Path):
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    views = ledger.trials("quickstart")
    ledger.close()
    return views


def test_another_objective_or_no_such_sweep_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match="has another objective"):
        warm_start.gathered(learning(store, "sampler.warm_start=quickstart", "objective.metric=valid/loss"))
    with pytest.raises(ConfigError, match="the store has no such sweep; allowed: quickstart"):
        warm_start.gathered(learning(store, "sampler.warm_start=quickstrat"))


def test_an_optuna_study_s_values_become_ours(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    study = optuna.create_study(storage=url, study_name="theirs")
    fixed = {"optimizer.lr": 0.1, "family.activation": "tanh"}
    study.enqueue_trial(fixed)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("optimizer.lr", 0.01, 1.0)
        trial.suggest_categorical("family.activation", ["tanh", "relu"])
        return 0.25

    study.optimize(objective, n_trials=1)
    space = "space={optimizer.lr:interval(0.01,1),family.activation:choice(tanh,sigmoid)}"
    config = learning(tmp_path, f"sampler.warm_start={{optuna: '{url}', study: theirs}}", space)
    earlier = warm_start.gathered(config)
    assert earlier is not None
    assert [(dict(view.params), view.values) for view in earlier.trials] == [(fixed, (0.25,))]


def test_it_is_kept_for_sessions_without_the_source(store: Path, tmp_path: Path) -> None:
    config = learning(store, "sampler.warm_start=quickstart")
    earlier = warm_start.gathered(config)
    assert earlier is not None
    ledger = open_ledger(f"sqlite:///{tmp_path / 'own.db'}")
    ledger.create(SweepView("new", SweepState.INTERRUPTED, {}))
    warm_start.keep(ledger, "new", earlier)
    assert warm_start.kept(ledger, "new") is None, "no driver has begun with it: it is looked up again"
    fence = ledger.acquire("new", "test", 0.0)
    ledger.take_requests("new", fence)
    shutil.rmtree(store)
    assert warm_start.kept(ledger, "new") == earlier
    ledger.close()
