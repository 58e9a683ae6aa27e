"""One trained trial: its reports, its network, and what a folder keeps of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import rnnsweep
from rnnsweep.app.results.training_folder import held
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


def numbers(trial):
    """All of its reports but what a clock says."""
    return [replace(report, device_s=0.0) for report in trial]


@pytest.mark.parametrize("torn", [False, True], ids=["after a rung", "before it was noted"])
def test_an_interrupted_training_goes_on_to_the_same_numbers(kept, tmp_path, torn):
    """Killed after a checkpoint, its report noted or half noted: nothing is lost, and nothing is told twice."""
    folder, trial = kept
    out, seen, notes = tmp_path / "mine", [], []

    def end(report):
        raise KeyboardInterrupt  # at the first report of the first rung

    with pytest.raises(KeyboardInterrupt):
        rnnsweep.train([*TRAINING, "replicas=2"], out=out, observer=end)
    with pytest.raises(ConfigError, match="was interrupted"):
        rnnsweep.load_trained(out)
    if torn:
        file = out / "reports.jsonl"
        file.write_text(file.read_text()[:-30])
    again = rnnsweep.train([*TRAINING, "replicas=2"], out=out, observer=seen.append, on_note=notes.append)
    assert numbers(again) == numbers(trial) == numbers(rnnsweep.load_trained(out))
    assert sorted((report.rung, report.replica) for report in seen) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert notes == [f"Goes on at update 10 in {out}."]
    assert {path.name for path in out.iterdir()} == {path.name for path in folder.iterdir()}
    ours, theirs = again.load().state_dict(), trial.load().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_code_that_has_changed_is_not_mixed_with_what_was_trained_before(kept, monkeypatch):
    folder, _ = kept
    monkeypatch.setattr("rnnsweep.app.provenance.fingerprint.own_code", lambda: "another")
    with pytest.raises(ConfigError, match="has changed since it was begun: rnnsweep's own code"):
        rnnsweep.train([*TRAINING, "replicas=2"], out=folder)


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    with held(tmp_path / "mine"), pytest.raises(ConfigError, match="another process trains there"):
        rnnsweep.train(TRAINING, out=tmp_path / "mine")


@pytest.mark.parametrize("content", [None, "[", "version: 1"])
def test_a_folder_without_a_trial_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "trial.yaml").write_text(content)
    with pytest.raises(ConfigError, match="holds no trained trial"):
        rnnsweep.load_trained(tmp_path)
