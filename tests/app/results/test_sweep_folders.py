"""Where the files of one sweep lie."""

from __future__ import annotations

import pytest

import rnnsweep
from rnnsweep.app.results.sweep_folders import sweep_folders
from rnnsweep.app.stores import place, reading_sweep
from tests.kit.tiny import TINY


@pytest.mark.slow
def test_checkpoints_report_and_artifacts_of_that_sweep_alone(tmp_path):
    store = tmp_path / "store"
    with_tracker = [text for text in TINY if text != "tracker=none"]
    for name in ("one", "other"):
        rnnsweep.launch("search", [f"name={name}", "budget.trials=1", *with_tracker], store=store, progress=False)
    rnnsweep.open_sweep("one", store=store).report()
    with reading_sweep(place(store), "one") as (_, view):
        folders = [folder.relative_to(store) for folder in sweep_folders(place(store), view)]
    assert [str(folder) for folder in folders[:2]] == ["checkpoints/one", "reports/one"]
    run = rnnsweep.open_sweep("one", store=store).table()[0]["mlflow_run_id"]
    assert len(folders) == 3 and run in folders[2].parts and folders[2].parts[0] == "artifacts"


def test_what_does_not_exist_is_left_out(store):
    with reading_sweep(place(store), "quickstart") as (_, view):
        assert sweep_folders(place(store), view) == []
