"""What a trial's MLflow run gets of its checkpoints: last and best per replica, from the attempt that came furthest."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rnnsweep.app.run.mlflow_mirror import checkpoint_files


def checkpoint(folder, rung, best):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"rung-{rung:06d}.safetensors").write_bytes(bytes([rung]))
    (folder / f"rung-{rung:06d}.json").write_text(json.dumps({"best_rung": best}))


def test_last_and_best_of_the_furthest_attempt(tmp_path):
    for rung in (1, 2):
        checkpoint(tmp_path / "000" / "0001-a", rung, 1)
    for rung in (3, 4, 5):
        checkpoint(tmp_path / "000" / "0002-b", rung, 3)
    found = checkpoint_files(tmp_path / "000")
    assert sorted(found) == [
        f"checkpoints/000/{name}.{kind}" for name in ("best", "last") for kind in ("json", "safetensors")
    ]
    assert found["checkpoints/000/last.safetensors"].read_bytes() == b"\x05"
    assert found["checkpoints/000/best.safetensors"].read_bytes() == b"\x03"


def test_a_replica_without_checkpoints_has_no_files(tmp_path):
    (tmp_path / "000").mkdir()
    assert checkpoint_files(tmp_path / "000") == {}


@pytest.mark.slow
def test_nothing_large_is_imported_for_a_report_that_was_prepared(store):
    """Whoever launched the sweep waits for it: libraries are loaded while trials train."""
    code = f"""
import sys
from pathlib import Path
from rnnsweep.app.run import wiring
from rnnsweep.app.run.launch import stored_config
from rnnsweep.app.run.mlflow_mirror import load_report, metric_keys, report_files
from rnnsweep.app.stores import place
config = stored_config(place(Path({str(store)!r})), "quickstart")
wiring.sampler(config), metric_keys(config)  # a session has them before
ledger = wiring.open_ledger_of(config)
load_report()
before = set(sys.modules)
assert "report/index.html" in report_files(config, ledger)
top = {{name.partition(".")[0] for name in before}}
new = [name for name in sys.modules if name not in before]
print(sorted({{name.partition(".")[0] for name in new}} - top), [name for name in new if name.startswith("scipy.")])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["[]", "[]"]
