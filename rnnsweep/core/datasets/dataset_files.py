"""Where a data set lies on disk, and what to say when it does not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from rnnsweep.core.rng import Split
from rnnsweep.errors import ConfigError

SAMPLES = Path(__file__).parents[2] / "samples"
"""Small samples that come with the package: ``samples:NAME`` in a path."""
PREFIX = "samples:"
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

Item = TypeVar("Item")
Content = TypeVar("Content")


def locate(path: str | None, sample: str, expected: str) -> Path:
    """The file or folder that a task's `path` names.

    Args:
        path: absolute (configs make it so), relative to the working directory, with ``~``, or ``samples:NAME``;
            None: `sample`.
        sample: name of the packaged sample that stands for None.
        expected: what should be there, for the error.

    Raises:
        ConfigError: there is nothing.
    """
    if path is None:
        return SAMPLES / sample
    if not isinstance(path, str) or not path:
        raise ConfigError("is no path", key="task.path", value=path, allowed=f"{expected}, or null for a small sample")
    if path.startswith(PREFIX):
        sample_path = SAMPLES / path.removeprefix(PREFIX)
        known = tuple(f"{PREFIX}{entry.name}" for entry in sorted(SAMPLES.iterdir()))
        # samples:../../x is no sample
        if sample_path.parent != SAMPLES or not sample_path.exists():
            raise ConfigError("no such sample", key="task.path", value=path, allowed=known)
        return sample_path
    expanded = Path(path).expanduser()
    if not expanded.exists():
        hint = None if expanded.is_absolute() else f"looked for {expanded.absolute()}"
        raise ConfigError("no such file or folder", key="task.path", value=path, allowed=expected, hint=hint)
    return expanded


def files_below(path: str) -> list[Path]:
    """The file that a path or ``samples:NAME`` names, or all files of the folder, sorted; empty where nothing is there.

    Raises:
        ConfigError: no such sample.
    """
    place = locate(path, "", "a sample") if path.startswith(PREFIX) else Path(path).expanduser()
    if place.is_file():
        return [place]
    # sorted: a digest of the list must not depend on the order in which a file system tells it
    return sorted(file for file in place.rglob("*") if file.is_file())


def states_of(files: Iterable[Path]) -> str:
    """A digest of name, size and time of writing of each file: what is kept of files is kept for these."""
    states = [(str(file), (state := file.stat()).st_size, state.st_mtime_ns) for file in files]
    # short, as it is hashed with every mini-batch, and a folder may hold thousands
    return hashlib.blake2b(repr(states).encode(), digest_size=16).hexdigest()


class KeptReader(Generic[Content]):
    """A reader that keeps what it has read while the files are as they were.

    A process may go on for days, such as a notebook's, and its user write a file anew: by path alone the old content
    would be kept. All rows of all packs share what is kept.
    """

    def __init__(self, read: Callable[..., Content], states: Callable[[Any], str], most: int) -> None:
        """Of a function of a path and options; at most so many of its results are kept."""
        self._states = states
        self._kept = lru_cache(maxsize=most)(lambda states, path, options: read(path, *options))

    def __call__(self, path: Any, *options: Any, states: str | None = None) -> Content:
        """Content of the files that `path` names.

        Args:
            path: see the reader.
            options: others of its arguments.
            states: of the files, from whoever asked before; None: they are looked at. Who reads for every mini-batch
                asks once, and goes on with what it began with.
        """
        return self._kept(self._states(path) if states is None else states, path, options)


def kept_while(
    files: Callable[[str | None], Iterable[Path]], most: int
) -> Callable[[Callable[..., Content]], KeptReader[Content]]:
    """Make a reader keep `most` contents, each while `files` of its path are as they were."""
    return lambda read: KeptReader(read, lambda path: states_of(files(path)), most)


def broken(path: Path, problem: str, expected: str) -> ConfigError:
    """The error for a file that is there but is not what it should be."""
    return ConfigError(problem, key="task.path", value=str(path), allowed=expected)


def in_parts(items: Sequence[Item], path: Path, expected: str) -> dict[Split, list[Item]]:
    """Cut a list without given parts: the last tenth for the test, the tenth before it for validation, each >= 1.

    Raises:
        ConfigError: fewer than three items.
    """
    if len(items) < len(SPLITS):
        problem = f"holds {len(items)} sequences, too few for training, validation and test"
        raise broken(path, problem, expected)
    tenth = max(1, len(items) // 10)
    first, second = len(items) - 2 * tenth, len(items) - tenth
    return {"train": list(items[:first]), "valid": list(items[first:second]), "test": list(items[second:])}


def part_of(name: str) -> Split | None:
    """Which part a file or array name belongs to: a word of it begins with train, valid or test; None: unclear.

    Example:
        >>> part_of("ptb.train.txt"), part_of("validation/1.mid"), part_of("constraint.mid")
        ('train', 'valid', None)
    """
    # at the beginning of a word: "constraint" holds "train"
    splits = set(re.findall(r"(?<![a-z])(train|valid|test)", name.lower()))
    return splits.pop() if len(splits) == 1 else None


def complete(parts: dict[Split, list[Item]], path: Path, expected: str) -> dict[Split, list[Item]]:
    """The parts, if all three are there and none is empty.

    Raises:
        ConfigError: one is missing.
    """
    for split in SPLITS:
        if not parts.get(split):
            raise broken(path, f"has no {split} part, or an empty one", expected)
    return parts
