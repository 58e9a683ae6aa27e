"""Studies of others, only read."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from rnnsweep.adapters.optuna.studies import study_trials
from rnnsweep.errors import ConfigError, StoreError


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    study = optuna.create_study(storage=url, study_name="theirs", sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise optuna.TrialPruned
        return trial.suggest_float("optimizer.lr", 0.1, 1.0) + (trial.suggest_categorical("kind", ["a", "b"]) == "a")

    study.optimize(objective, n_trials=3)
    return url


def test_complete_trials_come_with_their_names(url: str) -> None:
    views = study_trials(url, "theirs", ["minimize"], "k")
    assert [view.number for view in views] == [0, 2]
    for view in views:
        assert set(view.params) == {"optimizer.lr", "kind"}
        assert view.values == (pytest.approx(view.params["optimizer.lr"] + (view.params["kind"] == "a")),)


def test_what_is_not_there_or_pursues_something_else_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"k\.study='their': no such study; allowed: theirs"):
        study_trials(url, "their", ["minimize"], "k")
    with pytest.raises(ConfigError, match="has another goal"):
        study_trials(url, "theirs", ["maximize"], "k")
    with pytest.raises(ConfigError, match="has another goal"):
        study_trials(url, "theirs", ["minimize", "minimize"], "k")
    nothing = tmp_path / "no.db"
    with pytest.raises(ConfigError, match="no such file"):
        study_trials(f"sqlite:///{nothing}", "theirs", ["minimize"], "k")
    assert not nothing.exists()
    other = tmp_path / "other.db"
    other.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="Optuna"):
        study_trials(f"sqlite:///{other}", "theirs", ["minimize"], "k")
