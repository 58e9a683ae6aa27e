"""Piano rolls: from a JSON file, a .npz file, or a folder of MIDI files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnsweep.core.datasets.dataset_files import SPLITS, broken, complete, in_parts, kept_while, locate, part_of
from rnnsweep.core.datasets.file_sizes import check_memory, check_npy, size_of
from rnnsweep.core.datasets.midi import LOWEST, NOTES, read_midi
from rnnsweep.core.rng import Split
from rnnsweep.errors import ConfigError

EXPECTED = (
    "a .json file {train, valid, test: [piece, ...]}, a piece a list of steps, a step a list of MIDI note numbers; "
    "a .npz file with arrays [steps, 88] of 0 and 1 named train_0, ..., valid_0, ..., test_0, ...; "
    "or a folder of .mid files, best in subfolders train, valid and test"
)
_OBJECTS = 30
"""Bytes in memory per byte of JSON, at most: an empty step, ``[],``, is an object of its own."""
Rolls = dict[Split, list[np.ndarray]]


def roll_files(path: str | None) -> list[Path]:
    """The files that `read_rolls` reads, sorted.

    Raises:
        ConfigError: there is nothing.
    """
    source = locate(path, "rolls.json", EXPECTED)
    return _songs(source) if source.is_dir() else [source]


def _songs(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".mid", ".midi"))


@kept_while(roll_files, most=4)
def read_rolls(path: str | None, steps_per_beat: int) -> Rolls:
    """Pieces by part, uint8 [steps, 88], each with two steps or more.

    Args:
        path: see `EXPECTED`; None: the packaged sample.
        steps_per_beat: for MIDI files, which have no steps of their own.

    Raises:
        ConfigError: missing or broken files, no notes, no part.
    """
    source = locate(path, "rolls.json", EXPECTED)
    if source.is_dir():
        pieces = _midi(source, steps_per_beat)
    elif source.suffix == ".json":
        pieces = _json(source)
    elif source.suffix == ".npz":
        pieces = _npz(source)
    else:
        raise broken(source, "is neither .json, .npz nor a folder", EXPECTED)
    parts: Rolls = {split: [piece for piece in songs if len(piece) >= 2] for split, songs in pieces.items()}
    return complete(parts, source, EXPECTED)


def _midi(folder: Path, steps_per_beat: int) -> Rolls:
    files = _songs(folder)
    parts: Rolls = {split: [] for split in SPLITS}
    # folders only: titles of pieces hold such words too
    named: list[tuple[Split | None, Path]] = [(part_of(str(file.relative_to(folder).parent)), file) for file in files]
    if not any(split for split, _ in named):
        return in_parts([read_midi(file, steps_per_beat) for file in files], folder, EXPECTED)
    for split, file in named:
        if split is not None:
            parts[split].append(read_midi(file, steps_per_beat))
    return parts


def _json(file: Path) -> Rolls:
    check_memory(file, _OBJECTS * size_of(file, EXPECTED), EXPECTED)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise broken(file, "is nested too deep", EXPECTED) from None
    except (OSError, ValueError) as error:
        raise broken(file, f"is no readable JSON ({error})", EXPECTED) from None
    if not isinstance(content, dict) or not all(isinstance(content.get(split), list) for split in SPLITS):
        raise broken(file, "is no object with lists train, valid and test", EXPECTED)
    return {split: [_piece(file, f"{split}[{i}]", piece) for i, piece in enumerate(content[split])] for split in SPLITS}


def _piece(file: Path, where: str, steps: Any) -> np.ndarray:
    """A piece from note numbers; rests may be written as -1 or null."""
    if not isinstance(steps, list):
        raise broken(file, f"{where} is no list of steps", EXPECTED)
    roll = np.zeros((len(steps), NOTES), dtype=np.uint8)
    for t, notes in enumerate(steps):
        if not isinstance(notes, list):
            raise broken(file, f"{where}, step {t}, is no list of notes", EXPECTED)
        for note in notes:
            if note in (-1, None):
                continue
            if not isinstance(note, (int, float)) or not LOWEST <= note < LOWEST + NOTES or note != int(note):
                problem = f"{where}, step {t}: {note!r} is no note number {LOWEST}..{LOWEST + NOTES - 1}"
                raise broken(file, problem, EXPECTED)
            roll[t, int(note) - LOWEST] = 1
    return roll


def _npz(file: Path) -> Rolls:
    parts: Rolls = {split: [] for split in SPLITS}
    size_of(file, EXPECTED)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                split = part_of(name)
                if split is not None:
                    parts[split].append(_array(file, name, arrays))
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - torn, encrypted, of an unknown compression, or no archive at all
        problem = f"is no readable .npz file without pickled objects ({error or type(error).__name__})"
        raise broken(file, problem, EXPECTED) from None
    return parts


def _array(file: Path, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    shape, kind = check_npy(file, EXPECTED, name)
    if len(shape) == 2 and shape[1] == NOTES and kind.kind in "biuf":
        array = arrays[name]
        # refused and not cut to 1: anything else is another kind of data
        if np.isin(array, (0, 1)).all():
            return array.astype(np.uint8)
    raise broken(file, f"array {name} is not [steps, {NOTES}] of 0 and 1", EXPECTED)
