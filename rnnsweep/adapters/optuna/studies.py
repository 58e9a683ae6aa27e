"""Finished trials of an Optuna study that somebody else wrote: only read."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import TrialState as State

from rnnsweep.adapters import sqlite
from rnnsweep.errors import ConfigError, StoreError, nearest
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView


def study_trials(url: str, study: str, goals: Sequence[str], key: str) -> list[TrialView]:
    """COMPLETE trials of a study, whose params have the names that they have there.

    Args:
        url: of the database, as Optuna takes it.
        study: its name.
        goals: ``minimize`` or ``maximize``, of each objective.
        key: what errors call the source.

    Raises:
        ConfigError: no such database or study, or it pursues something else.
        StoreError: the database is away, or is none of Optuna's.
    """
    path = sqlite.path_of(url)
    if path is not None and not path.is_file():  # Optuna would make one
        raise ConfigError("no such file", key=f"{key}.optuna", value=str(path), allowed="an Optuna database")
    try:
        storage = optuna.storages.RDBStorage(url)
        names = optuna.get_all_study_names(storage)
        if study not in names:
            hint = nearest(study, names)
            raise ConfigError("no such study", key=f"{key}.study", value=study, allowed=names or "none", hint=hint)
        known = optuna.load_study(study_name=study, storage=storage)
        theirs = [direction.name.lower() for direction in known.directions]
        trials = known.get_trials(deepcopy=False, states=(State.COMPLETE,))
        storage.remove_session()
        storage.engine.dispose()
    except ConfigError:
        raise
    except Exception as error:
        raise StoreError("Optuna", f"{type(error).__name__}: {str(error).splitlines()[0][:300]}") from error
    if theirs != list(goals):
        raise ConfigError("has another goal", key=f"{key}.study", value=", ".join(theirs), allowed=", ".join(goals))
    return [
        TrialView(trial.number, TrialState.COMPLETE, dict(trial.params), tuple(map(float, trial.values)))
        for trial in trials
    ]
