"""Manifests that were damaged or edited: never another result, always the checkpoint before."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from rnnsweep.core.checkpoint import CheckpointStore, check_parameters
from rnnsweep.core.checkpoint_paths import MANIFEST, rung_file
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.types import ParameterLayout, ParameterSpec
from rnnsweep.errors import CheckpointError


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """Two rungs of a row that end at updates 10 and 20."""
    made = CheckpointStore(str(tmp_path))
    for rung in (1, 2):
        state = RowSnapshot({"w": torch.full((2,), float(rung))}, rung=rung, step=10 * rung)
        made.save(made.folder(0, 0, "t"), state, {"reports": [{"metrics": {"valid/error": 0.1 + 0.2}}]})
    return made


def test_a_checkpoint_outlasts_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, both names, and the names of new folders: what `fsync` was called on, in the order of the calls."""
    synced: list[str] = []
    real = os.fsync

    def note(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        real(file)

    monkeypatch.setattr(os, "fsync", note)
    made = CheckpointStore(str(tmp_path))
    folder = made.folder(0, 0, "t")
    state = RowSnapshot({"w": torch.zeros(2)}, rung=1, step=10)
    made.save(folder, state, {})
    above = [str(tmp_path), str(tmp_path / "000000"), str(tmp_path / "000000" / "000")]
    assert synced[:3] == above
    assert [Path(name).name.split(".tmp-")[0] for name in synced[3:5]] == [
        "rung-000001.safetensors",
        "rung-000001.json",
    ]
    assert synced[5:] == [folder]
    synced.clear()
    made.save(folder, dataclasses.replace(state, rung=2), {})
    assert [Path(name).name[:4] for name in synced] == ["rung", "rung", "t"]


def newest(store: CheckpointStore) -> Path:
    return Path(rung_file(store.folder(0, 0, "t"), 2, MANIFEST))


EDITS = {
    "another step": lambda text: text.replace('"step": 20', '"step": 10'),
    "another digit": lambda text: text.replace("0.30000000000000004", "0.30000000000000009"),
    "a word for a number": lambda text: text.replace('"step": 20', '"step": "x"'),
    "a list": lambda text: "[]",
    "null": lambda text: "null",
    "a number": lambda text: "7",
    "nothing": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "no step": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "step"}),
    "deep": lambda text: "[" * 100_000,
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_damaged_manifest_falls_back_to_the_rung_before(store: CheckpointStore, edit: str) -> None:
    path = newest(store)
    before = path.read_text()
    path.write_text(EDITS[edit](before))
    assert path.read_text() != before
    with pytest.raises(CheckpointError):
        store.load(store.folder(0, 0, "t"), 2)
    saved = store.newest([store.folder(0, 0, "t")])
    assert saved is not None
    assert (saved.state.rung, saved.state.step) == (1, 10)


@pytest.mark.parametrize(("key", "value"), [("step", "x"), ("rung", [2]), ("extra", None), ("profile_steps", None)])
def test_a_manifest_of_before_has_no_checksum_but_is_whole(store: CheckpointStore, key: str, value: object) -> None:
    path, folder = newest(store), store.folder(0, 0, "t")
    older = {k: v for k, v in json.loads(path.read_text()).items() if k != "checksum"}
    path.write_text(json.dumps(older))
    assert store.load(folder, 2).state.step == 20
    if value is None:
        del older[key]
    else:
        older[key] = value
    path.write_text(json.dumps(older))
    with pytest.raises(CheckpointError, match=key):
        store.load(folder, 2)


def test_a_whole_manifest_comes_back_without_its_checksum(store: CheckpointStore) -> None:
    saved = store.load(store.folder(0, 0, "t"), 2)
    assert saved.extra == {"reports": [{"metrics": {"valid/error": 0.1 + 0.2}}]}
    assert torch.equal(saved.state.params["w"], torch.full((2,), 2.0))


LAYOUT = ParameterLayout([ParameterSpec("w", (2, 3), "input"), ParameterSpec("b_rec", (3,), "bias")])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"w": (2, 3)}, "lacks b_rec; another version"),
        ({"w": (2, 3), "b_rec": (3,), "eta": (1,)}, "also has eta;"),
        ({"w": (2, 4), "b_rec": (3,)}, "has another shape of w;"),
        ({"eta": (1,), "w": (2, 3)}, "lacks b_rec and also has eta;"),
    ],
)
def test_parameters_of_another_network_are_refused(params, words):
    state = RowSnapshot({name: torch.zeros(shape) for name, shape in params.items()})
    with pytest.raises(CheckpointError) as caught:
        check_parameters(state, LAYOUT, "place")
    assert str(caught.value).startswith(f"place: {words}")


def test_its_own_parameters_are_taken():
    check_parameters(RowSnapshot({"w": torch.zeros(2, 3), "b_rec": torch.zeros(3)}), LAYOUT, "place")
