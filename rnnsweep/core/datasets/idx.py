"""IDX files, in which MNIST and its relatives are kept; plain or compressed with gzip."""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.files import broken, locate
from rnnsweep.core.rng import Split

EXPECTED = (
    "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each plain or .gz"
)
_BYTES = 0x08
"""Type code of unsigned bytes."""

Pictures = tuple[np.ndarray, np.ndarray]


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """An array of bytes with the given number of dimensions, uint8.

    Raises:
        ConfigError: no IDX file of bytes, another number of dimensions, or cut off.

    References:
        The file format is described with MNIST: two zero bytes, a type code, the number of dimensions, the sizes as
        big-endian 32-bit numbers, the data.
    """
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise broken(file, f"cannot be read ({error})", EXPECTED) from None
    start = 4 + 4 * dimensions
    if len(raw) < start or raw[:2] != b"\0\0" or raw[2] != _BYTES or raw[3] != dimensions:
        raise broken(file, f"is no IDX file of bytes with {dimensions} dimensions", EXPECTED)
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    if len(raw) - start != math.prod(shape):
        problem = f"holds {len(raw) - start} bytes of data where its header promises {math.prod(shape)}"
        raise broken(file, problem, EXPECTED)
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


@lru_cache(maxsize=2)
def read_mnist(path: str | None) -> dict[Split, Pictures]:
    """Pixels, uint8 [n, height * width], and classes 0..9, int64 [n], by part.

    The last sixth of the training file is for validation: 50 000, 10 000 and 10 000 pictures of MNIST.

    Raises:
        ConfigError: a file is missing or broken, or pictures and labels do not belong together.
    """
    folder = locate(path, "idx", EXPECTED)
    if not folder.is_dir():
        raise broken(folder, "is no folder", EXPECTED)
    pixels, classes = _pair(folder, "train")
    tests = _pair(folder, "t10k")
    if tests[0].shape[1] != pixels.shape[1]:
        raise broken(folder, "training and test pictures differ in size", EXPECTED)
    first = len(classes) - len(classes) // 6
    if not 0 < first < len(classes) or not len(tests[1]):
        raise broken(folder, f"holds {len(classes)} training and {len(tests[1])} test pictures, too few", EXPECTED)
    return {"train": (pixels[:first], classes[:first]), "valid": (pixels[first:], classes[first:]), "test": tests}


def _pair(folder: Path, name: str) -> Pictures:
    pictures = read_idx(_file(folder, f"{name}-images", 3), 3)
    labels = read_idx(_file(folder, f"{name}-labels", 1), 1)
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
