"""What lies beside checkpoints: the sweep's config, and what writers that were killed have left. Needs no torch."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlparse

from rnnsweep.core.checkpoint_paths import MANIFEST, TENSORS

CONFIG = "sweep.json"
_TEMPORARY = re.compile(r"\.tmp-\d+$")


def local_path(root: str) -> str | None:
    """The directory that a root names; None for the URL of an object store.

    Example:
        >>> local_path("file:///tmp/a"), local_path("runs/a"), local_path("s3://bucket/a")
        ('/tmp/a', 'runs/a', None)
    """
    if root.startswith("file://"):
        return urlparse(root).path
    return None if "://" in root else root


def write_config(root: str, config: Mapping[str, Any]) -> None:
    """Keep a sweep's config beside its checkpoints: they can be made use of should the ledger be lost.

    Args:
        root: the sweep's folder, or its fsspec URL.
        config: plain data. Whatever is no JSON (inf) is written as a string: the copy is for people.

    Raises:
        OSError: the place cannot be written.
    """
    text = json.dumps(config, indent=1, default=str) + "\n"
    folder = local_path(root)
    if folder is None:
        import fsspec

        fsspec.url_to_fs(root)[0].pipe_file(f"{root}/{CONFIG}", text.encode())
        return
    os.makedirs(folder, exist_ok=True)
    draft = f"{folder}/{CONFIG}.tmp-{os.getpid()}"
    with open(draft, "w") as file:
        file.write(text)
    # renamed, so that nobody reads half of it; not synced, since the ledger has the original
    os.replace(draft, f"{folder}/{CONFIG}")


def make_folder(folder: str) -> None:
    """Make a folder and those above it where they are missing, with names that outlast a power cut."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(os.path.abspath(folder))
    make_folder(above)
    os.makedirs(folder, exist_ok=True)  # another worker may be faster
    sync_folder(above)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable: syncing a file keeps its content, not the name that it was given."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; elsewhere one may be written to and not be read
        return
    try:
        os.fsync(opened)
    except OSError as error:
        # file systems that cannot do it say so; a disk that fails is a failed write
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(opened)


def rewrite_config(root: str, change: Callable[[Any], Any]) -> bool:
    """Change the copy that `write_config` left; whether there was something to change.

    Args:
        root: as for `write_config`.
        change: from its data to those that are to be kept.

    Raises:
        OSError: the place cannot be written.
    """
    folder = local_path(root)
    try:
        if folder is None:
            import fsspec

            text = fsspec.url_to_fs(root)[0].cat_file(f"{root}/{CONFIG}").decode()
        else:
            with open(f"{folder}/{CONFIG}") as file:
                text = file.read()
        before = json.loads(text)
    except (OSError, ValueError):  # there is none, or it is damaged
        return False
    after = change(before)
    if after == before:
        return False
    write_config(root, after)
    return True


def remove_leftovers(root: str) -> int:
    """Delete files of writers that were killed: temporary ones, and tensors whose manifest was not written or is gone.

    Only for who holds the sweep's lock: a living writer's files look the same.

    Returns:
        How many there were. An object store has none: objects appear whole.
    """
    folder = local_path(root)
    if folder is None:
        return 0
    # found first, deleted then: `os.walk` goes through the same folders
    gone = list(_leftovers(folder))
    for path in gone:
        os.remove(path)
    return len(gone)


def has_leftovers(root: str) -> bool:
    """Whether `remove_leftovers` would find any; only looks."""
    folder = local_path(root)
    return folder is not None and any(_leftovers(folder))


def _leftovers(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        present = set(names)
        for name in names:
            alone = name.endswith(TENSORS) and name.removesuffix(TENSORS) + MANIFEST not in present
            if alone or _TEMPORARY.search(name):
                yield os.path.join(place, name)
