"""Plain text: one file, or a folder with a file for each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.dataset_files import SPLITS, broken, complete, kept_while, locate, part_of
from rnnsweep.core.datasets.file_sizes import check_memory, size_of
from rnnsweep.core.rng import Split

EXPECTED = "a UTF-8 text file, or a folder with one file each for train, valid and test, such as ptb.train.txt"
_LEAST = 10
_COPIES = 16
"""Bytes in memory per byte of text, at most: the text, its code points, and its codes as int64."""


def text_files(path: str | None) -> list[Path]:
    """The files that `read_text` reads.

    Raises:
        ConfigError: there is nothing, or not what it needs.
    """
    source = locate(path, "text.txt", EXPECTED)
    return [file for files in _parts(source).values() for file in files] if source.is_dir() else [source]


@kept_while(text_files, most=4)
def read_text(path: str | None) -> tuple[str, dict[Split, list[np.ndarray]]]:
    """Alphabet (all characters of all parts, sorted) and the parts, each one sequence of codes, int64.

    A single file is cut in order: 90 % for training, 5 % for validation, 5 % for the test.

    Raises:
        ConfigError: missing, not UTF-8, too short, or without one of the parts.
    """
    source = locate(path, "text.txt", EXPECTED)
    texts = _folder(source) if source.is_dir() else _cut(_text(source))
    for split, text in texts.items():
        if len(text) < _LEAST:
            problem = f"its {split} part has {len(text)} characters, less than {_LEAST}"
            raise broken(source, problem, EXPECTED)
    # of all parts: a character that only the test has needs an output too
    alphabet = "".join(sorted(set().union(*texts.values())))
    return alphabet, {split: [_codes(text, alphabet)] for split, text in texts.items()}


def _folder(folder: Path) -> dict[Split, str]:
    return {split: _text(named[0]) for split, named in _parts(folder).items()}


def _parts(folder: Path) -> dict[Split, list[Path]]:
    """The one file of each part."""
    files: dict[Split, list[Path]] = {split: [] for split in SPLITS}
    for file in sorted(folder.iterdir()):
        split = part_of(file.name)
        if split is not None and file.is_file():
            files[split].append(file)
    for split, named in complete(files, folder, EXPECTED).items():
        if len(named) > 1:
            names = ", ".join(file.name for file in named)
            raise broken(folder, f"has several files for {split}: {names}", EXPECTED)
    return files


def _cut(text: str) -> dict[Split, str]:
    first, second = len(text) * 90 // 100, len(text) * 95 // 100
    return {"train": text[:first], "valid": text[first:second], "test": text[second:]}


def _text(file: Path) -> str:
    check_memory(file, _COPIES * size_of(file, EXPECTED), EXPECTED)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise broken(file, f"is not UTF-8 at byte {error.start}", EXPECTED) from None
    except OSError as error:
        raise broken(file, f"cannot be read ({error.strerror})", EXPECTED) from None


def _codes(text: str, alphabet: str) -> np.ndarray:
    # one number per character without a Python loop
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    known = np.frombuffer(alphabet.encode("utf-32-le"), dtype=np.uint32)
    # the alphabet is sorted by code point, so that a character's place in it is its code
    return np.searchsorted(known, points).astype(np.int64)
