"""Folders of this user's for what can be made again: compiled kernels, empty databases."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def cache_folder(name: str, first: str | None = None) -> Path | None:
    """A writable folder of this name, made if need be; None where there is no place for one.

    Args:
        name: of the folder, which tells versions apart.
        first: a folder that the user set for it.

    Below `first`, else the user's cache directory (XDG_CACHE_HOME, ~/.cache), else the system's temporary directory.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    private = os.path.join(tempfile.gettempdir(), f"rnnsweep-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    for root in filter(None, (first, os.path.join(home, "rnnsweep"), private)):
        folder = Path(root) / name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        # A folder that exists may belong to someone else, or lie on a disk that is mounted read-only.
        if os.access(folder, os.W_OK) and _is_ours(folder):
            return folder
    return None


def keep(file: Path, content: bytes) -> None:
    """Write at once or not at all: processes make the same things side by side. A full disk only costs time."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as whole:
            whole.write(content)
        os.replace(whole.name, file)


def _is_ours(folder: Path) -> bool:
    """What was made before is only taken from a folder of this user: the temporary directory is shared."""
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
