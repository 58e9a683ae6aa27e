"""Every preset trains, reports and ends, made tiny by overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.run import launch as running
from rnnsweep.app.studies.papers import PAPERS
from rnnsweep.sweep.states import SweepState
from tests.e2e.test_preset_arms import ARMS

TINY = {
    "scornn_adding": ["task.length=12"],
    "scornn_copying": ["task.length=5"],
    "scurnn_copying": ["task.length=5"],
    "lstm_adding": ["task.length=12"],
    "lstm_copying": ["task.length=5"],
    "enrnn_adding": ["task.length=12"],
    "enrnn_copying": ["task.length=5"],
    "scurnn_adding": ["task.length=12"],
    "scurnn_digits": ["task.source=sklearn", "budget.trials=1"],
    "adding": ["task.length=12"],
    "digits": [],
    "quickstart": ["task.length=10"],
    "search": ["task.length=10"],
    "japanese_vowels": [],
}
ELSEWHERE = {
    **dict.fromkeys(("pascanu_fig7", "pascanu_code", "pascanu_pathological"), "test_reproduce.py"),
    **dict.fromkeys(("pascanu_memorization", "chernodub_table1"), "test_reproduce.py"),
}
"""Presets that another file runs, as parts of a paper; those of `ARMS` run to their end there."""


def test_every_packaged_sweep_is_run_somewhere():
    packaged = {path.stem for path in search_path().sweep_files().values()}
    assert set(TINY) | set(ELSEWHERE) | set(ARMS) == packaged
    reproduced = {part.preset or paper.preset for paper in PAPERS.values() for part in paper.scales["smoke"]}
    for name, file in ELSEWHERE.items():
        assert name in reproduced or f'load("{name}"' in (Path(__file__).parent / file).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_preset_runs(name, tmp_path):
    small = ["replicas=1", "family.hidden=10", "budget.updates=4", "training.report_every=2", "training.eval_size=10"]
    config = load(name, [*small, *TINY[name], "cluster=inline", "tracker=none"], store=tmp_path)
    assert running.launch(config).state is SweepState.COMPLETE
