"""Files of a trial, wherever the store keeps its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.config.load import load, to_json
from rnnsweep.app.results.mlflow_runs import artifacts
from rnnsweep.app.stores import place_of
from rnnsweep.core.checkpoint_paths import MANIFEST, row_folder, rung_file, sweep_folder
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.states import SweepState


def view(store: Path, *overrides: str) -> SweepView:
    config = to_json(load("quickstart", ["name=t", *overrides], store=store, check_units=False))
    return SweepView("t", SweepState.COMPLETE, config, (), created=1.0, updated=1.0)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_checkpoints_are_found_below_the_store_and_elsewhere(tmp_path, elsewhere):
    store, other = tmp_path / "store", tmp_path / "fast disk"
    root = sweep_folder(str(other if elsewhere else store / "checkpoints"), "t")
    file = Path(rung_file(row_folder(root, 3, 0, "a"), 12, MANIFEST))
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    overrides = [f"store.checkpoints='{other}'"] if elsewhere else []
    where = place_of(store, f"sqlite:///{store / 'ledger.db'}")
    found = artifacts(where, view(store, *overrides), 3, {})
    assert found == [str(file) if elsewhere else "checkpoints/t/000003/000/a/rung-000012.json"]
    assert artifacts(where, view(store, *overrides), 4, {}) == []


def test_of_checkpoints_at_a_url_the_folder_is_named(tmp_path):
    where = place_of(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}")
    found = artifacts(where, view(tmp_path, "store.checkpoints='s3://bucket/all/'"), 3, {})
    assert found == ["s3://bucket/all/t/000003"]
