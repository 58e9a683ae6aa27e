"""One trained trial: its reports, its network, and what a folder keeps of it."""

from __future__ import annotations

import json

import pytest
import torch

import rnnsweep
from rnnsweep.errors import ConfigError
from tests.kit.tiny import TRAINING


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "mine"
    return folder, rnnsweep.train([*TRAINING, "replicas=2"], out=folder)


def test_a_result_is_the_sequence_of_its_reports(kept):
    _, trial = kept
    assert [(report.rung, report.replica) for report in trial] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert trial[-1].step == 20


def test_the_network_outlives_the_training_without_a_folder():
    trial = rnnsweep.train(TRAINING)
    network = trial.load()
    assert isinstance(network, torch.nn.Module)
    assert trial.folder.is_dir()
    folder = trial.folder
    del trial
    assert not folder.exists()  # nothing is left in the temporary directory


def test_a_kept_trial_is_the_same_when_it_is_loaded(kept):
    folder, trial = kept
    again = rnnsweep.load_trained(folder)
    assert list(again) == list(trial)
    for replica in (None, 0, 1):
        theirs, ours = again.load(replica).state_dict(), trial.load(replica).state_dict()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    json.loads((folder / "reports.json").read_text(), parse_constant=pytest.fail)


def test_the_network_of_train_scores_as_the_report_says(kept):
    """Evaluation draws fresh sequences: a share of 1000 stands within 4 standard errors of one of 20 (1 in 10^4)."""
    _, trial = kept
    reported = min(trial[-2:], key=lambda report: report.metrics["valid/loss"]).metrics["valid/error"]
    error = trial.load().evaluate(1000)["error"]
    assert abs(error - reported) < 4 * (0.25 / 20) ** 0.5 + 4 * (0.25 / 1000) ** 0.5


def test_a_folder_that_holds_something_is_refused_before_training(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(ConfigError, match="--out"):
            rnnsweep.train(TRAINING, out=out, observer=lambda report: pytest.fail("it trained"))


@pytest.mark.parametrize("content", [None, "[", "version: 1"])
def test_a_folder_without_a_trial_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "trial.yaml").write_text(content)
    with pytest.raises(ConfigError, match="holds no trained trial"):
        rnnsweep.load_trained(tmp_path)
