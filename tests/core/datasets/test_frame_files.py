"""Frames from .npy files."""

import numpy as np
import pytest

from rnnsweep.core.datasets.frame_files import read_frames
from rnnsweep.errors import ConfigError


def save(file, array, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array, **options)


def refused(path, *words):
    with pytest.raises(ConfigError) as caught:
        read_frames(str(path))
    message = str(caught.value)
    assert caught.value.key == "task.path"
    assert ".npy files" in message
    assert all(word in message for word in words), message


def test_subfolders_and_names_say_the_part(tmp_path):
    random = np.random.default_rng(0)
    arrays = {split: random.normal(size=(7, 3)).astype(np.float32) for split in ("train", "valid", "test")}
    for layout in ("folders", "names"):
        for split, array in arrays.items():
            save(tmp_path / layout / (f"{split}/a.npy" if layout == "folders" else f"my_{split}.npy"), array)
        parts = read_frames(str(tmp_path / layout))
        assert all(np.array_equal(parts[split][0], array) for split, array in arrays.items())


def test_three_dimensions_are_several_sequences_and_lists_are_cut(tmp_path):
    array = np.arange(10 * 4 * 2).reshape(10, 4, 2)
    save(tmp_path / "all.npy", array)
    parts = read_frames(str(tmp_path))
    assert [len(parts[split]) for split in ("train", "valid", "test")] == [8, 1, 1]
    assert np.array_equal(np.stack([*parts["train"], *parts["valid"], *parts["test"]]), array)
    assert parts["train"][0].dtype == np.float32


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(5), "not numbers [steps, d]"),
        (np.zeros((5, 0)), "not numbers [steps, d]"),
        (np.zeros((5, 2), dtype=complex), "complex128"),
        (np.array([["a"]]), "not numbers"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1e300, 0.0]]), "infinite in float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_broken_arrays_are_refused(tmp_path, array, words):
    for split in ("train", "valid", "test"):
        save(tmp_path / split / "a.npy", array)
    refused(tmp_path, words, "a.npy")


def test_broken_folders_are_refused(tmp_path):
    refused(tmp_path / "none", "no such file or folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is no folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds 0 sequences")
    for split in ("train", "valid"):
        save(tmp_path / "part" / split / "a.npy", np.zeros((5, 2)))
    refused(tmp_path / "part", "no test part")
    save(tmp_path / "part" / "test" / "a.npy", np.zeros((1, 2)))
    refused(tmp_path / "part", "no test part")
    for split, d in (("train", 2), ("valid", 3), ("test", 2)):
        save(tmp_path / "sizes" / split / "a.npy", np.zeros((5, d)))
    refused(tmp_path / "sizes", "different sizes: [2, 3]")
    for name, raw in (("text", b"no array"), ("none", b"")):
        (tmp_path / f"raw_{name}").mkdir()
        (tmp_path / f"raw_{name}" / "train.npy").write_bytes(raw)
        refused(tmp_path / f"raw_{name}", "is no readable .npy file")


def test_pickles_are_never_read(tmp_path):
    save(tmp_path / "train.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(tmp_path, "without pickled objects")
