"""Finished runs of an MLflow experiment as trials, whoever logged them: only read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.mlflow.library import MlflowClient, MlflowException, Run
from rnnsweep.adapters.mlflow.sqlite_tables import KIND
from rnnsweep.adapters.trial_texts import legal_name
from rnnsweep.errors import ConfigError, StoreError, nearest
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView

OWN = "objective"
"""What runs of ours have their objective under, reduced over replicas; those of others have its metric alone."""
_PAGE = 1000


def experiment_trials(uri: str, experiment: str, metrics: Sequence[str], key: str) -> list[TrialView]:
    """Finished runs of an experiment, oldest first, whose params are texts under the names that they have there.

    Args:
        uri: of the tracking server or database.
        experiment: its name.
        metrics: metric keys of the objectives.
        key: what errors call the source.

    Raises:
        ConfigError: no such database or experiment.
        StoreError: the server is away.
    """
    path = sqlite.path_of(uri)
    if path is not None and not path.is_file():  # MLflow would make one
        raise ConfigError("no such file", key=f"{key}.mlflow", value=str(path), allowed="an MLflow database")
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = [one.name for one in client.search_experiments()]
            hint = nearest(experiment, names)
            raise ConfigError(
                "no such experiment", key=f"{key}.experiment", value=experiment, allowed=names or "none", hint=hint
            )
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = client.search_runs(
                [found.experiment_id], "attributes.status = 'FINISHED'", 1, _PAGE, ["attributes.start_time"], token
            )
            runs += page
            token = page.token
            if not token:
                break
    except MlflowException as error:
        raise StoreError("MLflow", str(error).splitlines()[0][:300]) from error
    trials = (run for run in runs if run.data.tags.get(KIND) != "sweep")
    return [_trial(number, run, metrics) for number, run in enumerate(trials)]


def _trial(number: int, run: Run, metrics: Sequence[str]) -> TrialView:
    known = run.data.metrics
    wanted = [OWN] if len(metrics) == 1 and OWN in known else [legal_name(metric) for metric in metrics]
    values = tuple(float(known[name]) for name in wanted if name in known and math.isfinite(known[name]))
    return TrialView(number, TrialState.COMPLETE, dict(run.data.params), values)
