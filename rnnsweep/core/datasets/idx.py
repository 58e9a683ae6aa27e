"""IDX files, in which MNIST and its relatives are kept; plain or compressed with gzip."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.dataset_files import broken, kept_while, locate
from rnnsweep.core.datasets.file_sizes import DEFLATE_RATIO, check_memory, size_of
from rnnsweep.core.rng import Split
from rnnsweep.errors import ConfigError

EXPECTED = (
    "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each plain or .gz"
)
_BYTES = 0x08
"""Type code of unsigned bytes."""

_KINDS = {"images": 3, "labels": 1}
"""What there are files of, and their numbers of dimensions."""

Pictures = tuple[np.ndarray, np.ndarray]


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """An array of bytes with the given number of dimensions, uint8.

    Raises:
        ConfigError: no IDX file of bytes, another number of dimensions, or cut off.

    References:
        The file format is described with MNIST: two zero bytes, a type code, the number of dimensions, the sizes as
        big-endian 32-bit numbers, the data.
    """
    size, packed = size_of(file, EXPECTED), file.suffix == ".gz"
    start = 4 + 4 * dimensions
    try:
        with gzip.open(file) if packed else file.open("rb") as stream:
            head = stream.read(start)
            shape = _shape(file, head, dimensions)
            promised, most = math.prod(shape), size * (DEFLATE_RATIO if packed else 1)
            if not packed and promised != size - start:
                raise _torn(file, f"{size - start} bytes", promised)
            # before reading: a header can promise anything
            if promised > most:
                raise broken(file, f"{size:,} bytes cannot hold the {promised:,} that its header promises", EXPECTED)
            check_memory(file, promised, EXPECTED)
            data = stream.read(promised + 1)  # one more than promised: whatever follows is not unpacked
    except (OSError, EOFError, zlib.error) as error:
        raise broken(file, f"cannot be read ({error})", EXPECTED) from None
    if len(data) != promised:
        raise _torn(file, f"{len(data)} bytes" if len(data) < promised else "more bytes", promised)
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _torn(file: Path, held: str, promised: int) -> ConfigError:
    return broken(file, f"holds {held} of data where its header promises {promised}", EXPECTED)


def _shape(file: Path, head: bytes, dimensions: int) -> tuple[int, ...]:
    """The sizes in an IDX file's first bytes."""
    if len(head) < 4 + 4 * dimensions or head[:2] != b"\0\0" or head[2] != _BYTES or head[3] != dimensions:
        raise broken(file, f"is no IDX file of bytes with {dimensions} dimensions", EXPECTED)
    return tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4))


def idx_files(path: str | None) -> list[Path]:
    """The four files that `read_mnist` reads.

    Raises:
        ConfigError: one is missing.
    """
    folder = locate(path, "idx", EXPECTED)
    if not folder.is_dir():
        raise broken(folder, "is no folder", EXPECTED)
    return [_file(folder, f"{name}-{kind}", size) for name in ("train", "t10k") for kind, size in _KINDS.items()]


@kept_while(idx_files, most=2)
def read_mnist(path: str | None) -> dict[Split, Pictures]:
    """Pixels, uint8 [n, height * width], and classes 0..9, int64 [n], by part.

    The last sixth of the training file is for validation: 50 000, 10 000 and 10 000 pictures of MNIST.

    Raises:
        ConfigError: a file is missing or broken, or pictures and labels do not belong together.
    """
    folder = locate(path, "idx", EXPECTED)
    pixels, classes = _pair(folder, "train")
    tests = _pair(folder, "t10k")
    if tests[0].shape[1] != pixels.shape[1]:
        raise broken(folder, "training and test pictures differ in size", EXPECTED)
    first = len(classes) - len(classes) // 6
    if not 0 < first < len(classes) or not len(tests[1]):
        raise broken(folder, f"too few pictures ({len(classes)} to train, {len(tests[1])} to test)", EXPECTED)
    return {"train": (pixels[:first], classes[:first]), "valid": (pixels[first:], classes[first:]), "test": tests}


def _pair(folder: Path, name: str) -> Pictures:
    pictures, labels = (read_idx(_file(folder, f"{name}-{kind}", size), size) for kind, size in _KINDS.items())
    if len(pictures) != len(labels):
        raise broken(folder, f"{name}: {len(pictures)} pictures but {len(labels)} labels", EXPECTED)
    if len(labels) and labels.max() > 9:
        raise broken(folder, f"{name}: a label is {labels.max()}, not 0..9", EXPECTED)
    return pictures.reshape(len(pictures), math.prod(pictures.shape[1:])), labels.astype(np.int64)


def _file(folder: Path, name: str, dimensions: int) -> Path:
    """The file under either of its usual names (``-idx3-`` or ``.idx3-``), plain before compressed."""
    for ending in ("", ".gz"):
        for dot in "-.":
            file = folder / f"{name}{dot}idx{dimensions}-ubyte{ending}"
            if file.is_file():
                return file
    raise broken(folder, f"has no {name}-idx{dimensions}-ubyte or {name}-idx{dimensions}-ubyte.gz", EXPECTED)
