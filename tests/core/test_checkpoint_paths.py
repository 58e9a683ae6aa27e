"""The layout of checkpoint folders, and everybody who looks for checkpoints."""

from __future__ import annotations

import torch

from rnnsweep.core.checkpoint import CheckpointStore
from rnnsweep.core.checkpoint_paths import MANIFEST, TENSORS, row_folder, rung_file, rung_of, sweep_folder, trial_folder
from rnnsweep.core.pack import RowSnapshot


def test_a_store_writes_where_the_layout_says(tmp_path):
    root = sweep_folder(f"{tmp_path}/", "mine")
    store = CheckpointStore(root)
    folder = store.folder(12, 3, "token")
    assert folder == row_folder(root, 12, 3, "token")
    assert folder.startswith(trial_folder(root, 12) + "/")
    store.save(folder, RowSnapshot({"w": torch.zeros(2)}, rung=7), {})
    written = sorted(str(path) for path in tmp_path.rglob("*") if path.is_file())
    assert written == sorted(rung_file(folder, 7, kind) for kind in (MANIFEST, TENSORS))
    assert [rung_of(path) for path in written] == [7, None]
    assert written[0] == f"{tmp_path}/mine/000012/003/token/rung-000007.json", "the format of all stores so far"
