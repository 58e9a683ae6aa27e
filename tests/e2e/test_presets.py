"""Every preset trains, reports and ends, made tiny by overrides."""

from __future__ import annotations

import pytest

from rnnsweep.app import running
from rnnsweep.app.config import load
from rnnsweep.sweep.states import SweepState

TINY = {
    "scornn_adding": ["task.length=12"],
    "scornn_copying": ["task.length=5"],
    "scornn_digits": ["task.source=sklearn"],
    "scurnn_copying": ["task.length=5"],
    "enrnn_adding": ["task.length=12"],
    "enrnn_copying": ["task.length=5"],
    "momentum_smnist": ["task.source=sklearn", "~space.family.hidden"],
    "momentum_pmnist": ["task.source=sklearn", "~space.family.hidden"],
    "sbo_digits": [],
    "rflo_periodic": ["task.length=10"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_preset_runs(name, tmp_path):
    small = ["replicas=1", "family.hidden=10", "budget.updates=4", "training.report_every=2", "training.eval_size=10"]
    config = load(name, [*small, *TINY[name], "cluster=inline", "tracker=none"], store=tmp_path)
    assert running.launch(config).state is SweepState.COMPLETE
