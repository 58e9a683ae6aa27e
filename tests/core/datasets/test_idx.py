"""IDX files, plain and compressed, whole and broken."""

import gzip
import struct

import numpy as np
import pytest

from rnnsweep.core.datasets.idx import read_idx, read_mnist
from rnnsweep.errors import ConfigError


def idx(array, code=8):
    return struct.pack(">HBB", 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, dots=False, zipped=False, train=17, test=5, **changes):
    """MNIST's four files with random content; `changes` by name replace an array."""
    random = np.random.default_rng(0)
    arrays = {
        "train-images": random.integers(0, 256, (train, 4, 3), dtype=np.uint8),
        "train-labels": random.integers(0, 10, train, dtype=np.uint8),
        "t10k-images": random.integers(0, 256, (test, 4, 3), dtype=np.uint8),
        "t10k-labels": random.integers(0, 10, test, dtype=np.uint8),
    }
    arrays |= {name.replace("_", "-"): array for name, array in changes.items()}
    for name, array in arrays.items():
        file = f"{name}{'.' if dots else '-'}idx{array.ndim}-ubyte"
        raw = gzip.compress(idx(array)) if zipped else idx(array)
        (folder / (file + (".gz" if zipped else ""))).write_bytes(raw)
    return arrays


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_parts_are_those_of_the_files(tmp_path, dots, zipped):
    arrays = write(tmp_path, dots, zipped)
    parts = read_mnist(str(tmp_path))
    assert [len(parts[split][1]) for split in ("train", "valid", "test")] == [15, 2, 5]
    pixels = np.concatenate([parts["train"][0], parts["valid"][0]])
    assert np.array_equal(pixels, arrays["train-images"].reshape(17, 12))
    assert np.array_equal(np.concatenate([parts["train"][1], parts["valid"][1]]), arrays["train-labels"])
    assert np.array_equal(parts["test"][0], arrays["t10k-images"].reshape(5, 12))
    assert np.array_equal(parts["test"][1], arrays["t10k-labels"])


def refused(path, *words):
    with pytest.raises(ConfigError) as caught:
        read_mnist(str(path))
    message = str(caught.value)
    assert caught.value.key == "task.path"
    assert "train-images-idx3-ubyte" in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"])
def test_missing_files_are_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / f"{name}-ubyte").unlink()
    refused(tmp_path, f"has no {name}-ubyte")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda raw: raw[:-1], "203 bytes of data where its header promises 204"),
        (lambda raw: raw + b"x", "205 bytes"),
        (lambda raw: raw[:3], "is no IDX file"),
        (lambda raw: b"", "is no IDX file"),
        (lambda raw: b"\x80\x02" + raw[2:], "is no IDX file"),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], "is no IDX file of bytes"),
        (lambda raw: raw[:3] + b"\x02" + raw[4:], "3 dimensions"),
    ],
)
def test_broken_files_are_refused(tmp_path, spoil, words):
    write(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(spoil(file.read_bytes()))
    refused(tmp_path, words, file.name)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda raw: raw[: len(raw) // 2], "cannot be read"),
        (lambda raw: raw[:20] + b"\0\0\0" + raw[23:], "header promises"),  # its sizes unpack to other ones
        (lambda raw: raw[:-5] + b"\0" + raw[-4:], "cannot be read"),  # the checksum
        (lambda raw: b"no gzip", "cannot be read"),
    ],
)
def test_broken_compression_is_refused(tmp_path, spoil, words):
    write(tmp_path, zipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(spoil(file.read_bytes()))
    refused(tmp_path, words, file.name)


def test_parts_that_do_not_fit_are_refused(tmp_path):
    for name, words, changes in (
        ("labels", "17 pictures but 12 labels", {"train_labels": np.zeros(12, dtype=np.uint8)}),
        ("class", "a label is 10", {"t10k_labels": np.full(5, 10, dtype=np.uint8)}),
        ("size", "differ in size", {"t10k_images": np.zeros((5, 4, 4), dtype=np.uint8)}),
        ("few", "too few", {"train_images": np.zeros((3, 4, 3), np.uint8), "train_labels": np.zeros(3, np.uint8)}),
    ):
        (tmp_path / name).mkdir()
        write(tmp_path / name, **changes)
        refused(tmp_path / name, words)
    refused(tmp_path / "nowhere", "no such file or folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is no folder")


def test_plain_files_come_before_compressed_ones(tmp_path):
    write(tmp_path, zipped=True)
    arrays = write(tmp_path, train_labels=np.arange(17, dtype=np.uint8) % 10)
    assert np.array_equal(read_idx(tmp_path / "train-labels-idx1-ubyte", 1), arrays["train-labels"])
    assert read_mnist(str(tmp_path))["train"][1].tolist() == [i % 10 for i in range(15)]
