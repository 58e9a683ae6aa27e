"""What the driver sends to its workers."""

from __future__ import annotations

import subprocess
import sys

from rnnsweep.app.config.load import load
from rnnsweep.app.worker.factory import trainer_factory


def test_a_factory_survives_cloudpickle_and_takes_the_sweeps_settings(tmp_path):
    from ray import cloudpickle

    config = load("quickstart", ["name=f", "cluster.rows=3"], store=tmp_path, check_units=False)
    sent = cloudpickle.loads(cloudpickle.dumps(trainer_factory(config)))
    assert sent == trainer_factory(config)
    assert (sent.settings.rows, sent.settings.report_every) == (3, config.plan.report_every)
    assert sent.settings.checkpoints.endswith("/f")


def test_a_driver_makes_one_without_torch(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom rnnsweep.app.config.load import load\n"
        "from rnnsweep.app.worker.factory import trainer_factory\n"
        f"trainer_factory(load('quickstart', [], store=Path({str(tmp_path)!r}), check_units=False))\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
