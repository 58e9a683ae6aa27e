"""What a trial's MLflow run gets of its checkpoints: last and best per replica, from the attempt that came furthest."""

from __future__ import annotations

import json

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
