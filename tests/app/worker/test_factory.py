"""What workers of a sweep are told."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from rnnsweep.app import environment
from rnnsweep.app.config.load import load
from rnnsweep.app.provenance.sessions import first
from rnnsweep.app.worker.factory import trainer_factory
from rnnsweep.errors import MismatchError


@pytest.mark.parametrize(
    ("overrides", "device"),
    [
        ([], "auto"),
        (["cluster=inline"], "auto"),
        (["cluster=inline", "cluster.gpus_per_worker=0"], "cpu"),
        (["cluster.gpus_per_worker=1"], "auto"),
        (["engine=cpu"], "cpu"),
        (["engine=reference"], "auto"),
    ],
)
def test_rows_stay_off_a_gpu_that_the_config_does_not_want(overrides, device):
    assert trainer_factory(load(None, overrides, check_units=False)).settings.device == device


def test_a_factory_travels(tmp_path):
    factory = trainer_factory(load("quickstart", ["seeds=independent"], store=tmp_path, check_units=False))
    again = pickle.loads(pickle.dumps(factory))
    assert again == factory
    assert again.settings.independent
    assert again.settings.checkpoints == str(tmp_path / "checkpoints/quickstart")


def test_a_worker_with_other_code_or_data_is_refused_with_the_reason(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be " * 20)
    overrides = ["task=char_lm", f"task.path={text}", "objective.metric=valid/loss", "cluster=inline"]
    config = load(None, overrides, store=tmp_path, check_units=False)
    factory = trainer_factory(config, first(config))
    assert factory.settings.session.record == {}  # of earlier sessions workers need nothing
    assert factory("w0", 1).worker == "w0"
    text.write_text("or not " * 30)
    monkeypatch.setattr(environment, "version_of", lambda name: "99.0")
    with pytest.raises(
        MismatchError, match=r"worker w1 differs from its driver: torch .* -> 99\.0; .*text\.txt .* -> "
    ):
        factory("w1", 1)


def test_a_driver_makes_one_without_torch(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom rnnsweep.app.config.load import load\n"
        "from rnnsweep.app.worker.factory import trainer_factory\n"
        f"trainer_factory(load('quickstart', [], store=Path({str(tmp_path)!r}), check_units=False))\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
