"""Sequences of frames, such as spectrograms, in .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.dataset_files import SPLITS, broken, complete, in_parts, kept_while, locate, part_of
from rnnsweep.core.datasets.file_sizes import check_npy
from rnnsweep.core.rng import Split

EXPECTED = (
    "a folder of .npy files, each one sequence [steps, d] or several [n, steps, d], best in subfolders (or with file "
    "names) train, valid and test"
)
Frames = dict[Split, list[np.ndarray]]


def frame_files(path: str | None) -> list[Path]:
    """The files that `read_frames` reads, or would if their names told a part; sorted, since sequence ids count so.

    Raises:
        ConfigError: there is no such folder.
    """
    folder = locate(path, "frames", EXPECTED)
    if not folder.is_dir():
        raise broken(folder, "is no folder", EXPECTED)
    return sorted(folder.rglob("*.npy"))


@kept_while(frame_files, most=4)
def read_frames(path: str | None) -> Frames:
    """Sequences by part, float32 [steps, d] with one d, each with two steps or more.

    Raises:
        ConfigError: missing or broken files, non-finite values, several sizes d, or a part is missing.
    """
    files, folder = frame_files(path), locate(path, "frames", EXPECTED)
    named: list[tuple[Split | None, Path]] = [(part_of(str(file.relative_to(folder))), file) for file in files]
    # one named part is enough to mean that names decide; what has no part is left out then
    if not any(split for split, _ in named):
        parts = in_parts([sequence for file in files for sequence in _sequences(file)], folder, EXPECTED)
    else:
        parts: Frames = {split: [] for split in SPLITS}
        for split, file in named:
            if split is not None:
                parts[split] += _sequences(file)
    sizes = {sequence.shape[1] for sequences in parts.values() for sequence in sequences}
    if len(sizes) > 1:
        raise broken(folder, f"frames have different sizes: {sorted(sizes)}", EXPECTED)
    return complete(parts, folder, EXPECTED)


def _sequences(file: Path) -> list[np.ndarray]:
    shape, kind = check_npy(file, EXPECTED)
    if len(shape) not in (2, 3) or shape[-1] == 0 or kind.kind not in "fiu":
        raise broken(file, f"is {kind} {list(shape)}, not numbers [steps, d] or [n, steps, d]", EXPECTED)
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise broken(file, f"is no readable .npy file without pickled objects ({error})", EXPECTED) from None
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused below
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise broken(file, "has values that are NaN or infinite in float32", EXPECTED)
    # one step alone has no next one to predict
    return [sequence for sequence in (array if array.ndim == 3 else [array]) if len(sequence) >= 2]
