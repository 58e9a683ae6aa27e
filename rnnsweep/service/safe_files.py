"""Files below a folder, opened so that no name leads out of it: no dots, no links, nothing but plain files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnsweep.errors import ConfigError

MOST = 10_000
"""Files that are listed."""


def parts_of(path: str) -> tuple[str, ...]:
    """The names that a relative path is made of.

    Raises:
        ConfigError: it has an empty one, dots, or a zero.
    """
    parts = tuple(path.split("/"))
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        allowed = "a path as `artifacts` lists it"
        raise ConfigError("is no path of an artifact", key="ARTIFACT", value=path, allowed=allowed)
    return parts


def open_below(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of a plain file below `root`, each folder on the way opened in turn: a link is never followed.

    Raises:
        OSError: there is none, or something on the way is no folder.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # O_NONBLOCK: to open a pipe would wait for its writer
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError("no plain file")
    return file


def plain_files(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Plain files below `folder`, which lies below `root`: path relative to `root`, and bytes."""
    for place, folders, names in os.walk(folder):  # links to folders are listed among them and not entered
        folders.sort()
        for name in sorted(names):
            path = Path(place) / name
            try:
                status = path.lstat()
            except OSError:  # a checkpoint that has just been replaced
                continue
            if stat.S_ISREG(status.st_mode):
                yield path.relative_to(root).as_posix(), status.st_size
