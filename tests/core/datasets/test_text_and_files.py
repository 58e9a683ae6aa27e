"""Text, and where files are looked for."""

from pathlib import Path

import numpy as np
import pytest

from rnnsweep.core.datasets.dataset_files import SAMPLES, in_parts, locate, part_of
from rnnsweep.core.datasets.text import read_text
from rnnsweep.errors import ConfigError

PTB = {"ptb.train.txt": "the cat sat. " * 9, "ptb.valid.txt": "a dog ran; " * 3, "ptb.test.txt": "no más " * 4}


def decoded(path):
    alphabet, parts = read_text(str(path))
    return {split: "".join(alphabet[code] for code in sequence) for split, (sequence,) in parts.items()}


def folder(path, files):
    for name, text in files.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def refused(path, *words):
    with pytest.raises(ConfigError) as caught:
        read_text(str(path))
    message = str(caught.value)
    assert caught.value.key == "task.path"
    assert "UTF-8 text file" in message
    assert all(word in message for word in words), message


def test_parts_of_a_folder_are_its_files(tmp_path):
    assert decoded(folder(tmp_path, {**PTB, "readme": "x"})) == {name.split(".")[1]: text for name, text in PTB.items()}
    alphabet, _ = read_text(str(tmp_path))
    assert alphabet == "".join(sorted(set("".join(PTB.values()))))


def test_a_single_file_is_cut_in_order(tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(1001)) + "😀"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    found = decoded(tmp_path / "a.txt")
    assert "".join(found[split] for split in ("train", "valid", "test")) == text
    assert [len(found[split]) for split in ("train", "valid", "test")] == [901, 50, 51]


def test_broken_texts_are_refused(tmp_path):
    refused(tmp_path / "none.txt", "no such file or folder", "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 100)
    refused(tmp_path / "latin.txt", "not UTF-8 at byte 3")
    (tmp_path / "short.txt").write_text("short")
    refused(tmp_path / "short.txt", "characters, less than 10")
    for name, change, words in (
        ("missing", {"ptb.valid.txt": None}, ["no valid part"]),
        ("double", {"also.train.txt": "x" * 99}, ["several files for train", "also.train.txt, ptb.train.txt"]),
        ("empty", {"ptb.test.txt": ""}, ["test part has 0 characters"]),
    ):
        (tmp_path / name).mkdir()
        files = {key: text for key, text in {**PTB, **change}.items() if text is not None}
        refused(folder(tmp_path / name, files), *words)


def test_paths(tmp_path, monkeypatch):
    assert locate(None, "text.txt", "") == SAMPLES / "text.txt"
    assert locate("samples:midi", "", "") == SAMPLES / "midi"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    assert locate("~/here", "", "") == tmp_path / "here"
    monkeypatch.chdir(tmp_path)
    assert locate("here", "", "") == Path("here")
    with pytest.raises(ConfigError, match=str(tmp_path / "there")):
        locate("there", "", "a folder")
    for wrong in ("samples:", "samples:../core", "samples:mid"):
        with pytest.raises(ConfigError, match="samples:midi"):
            locate(wrong, "", "")
    for wrong in ("", 7):
        with pytest.raises(ConfigError, match="is no path"):
            locate(wrong, "", "a folder")


def test_names_of_parts():
    assert [part_of(name) for name in ("ptb.train.txt", "Valid_3", "jsb-test", "validation")] == [
        "train", "valid", "test", "valid",
    ]  # fmt: skip
    assert [part_of(name) for name in ("latest.txt", "constraint", "train-test", "x")] == [None] * 4


def test_lists_are_cut_in_order(tmp_path):
    for count in (3, 9, 10, 57):
        parts = in_parts(list(range(count)), tmp_path, "")
        assert [*parts["train"], *parts["valid"], *parts["test"]] == list(range(count))
        assert len(parts["valid"]) == len(parts["test"]) == max(1, count // 10)
    with pytest.raises(ConfigError, match="holds 2 sequences"):
        in_parts([1, 2], tmp_path, "a folder")


def test_the_sample_is_a_text_of_its_own():
    alphabet, parts = read_text(None)
    assert 10 < len(alphabet) < 40
    assert sum(len(sequence) for (sequence,) in parts.values()) > 10_000
    assert all(sequence.dtype == np.int64 for (sequence,) in parts.values())
