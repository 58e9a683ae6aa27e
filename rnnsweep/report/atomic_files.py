"""Files that a reader never meets half written: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

_DRAFT = re.compile(r"\..+\.(?:(?P<host>[^.]+)-(?P<process>\d+)\.draft|\d+)")
"""A draft's name; earlier versions wrote the process alone, and none of theirs can still be written."""
OLD_S = 3600.0
"""Age from which a draft of another machine counts as left behind, seconds: no report takes that long."""


def write(path: Path, content: bytes) -> Path:
    """Replace a file in one step; returns its path."""
    # in the same folder: a rename is atomic within one file system only; host and process, since several machines may
    # write one report
    draft = path.with_name(f".{path.name}.{_host()}-{os.getpid()}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def remove_drafts(folder: Path) -> list[str]:
    """Remove what killed writers left in a folder; returns the names."""
    left = left_drafts(folder)
    for draft in left:
        draft.unlink(missing_ok=True)
    return [draft.name for draft in left]


def left_drafts(folder: Path) -> list[Path]:
    """What killed writers left in a folder, by name.

    A draft of this machine is left once its process is gone; one of another machine, which cannot be asked, once it is
    an hour old.
    """
    left = []
    for draft in folder.glob(".*") if folder.is_dir() else ():
        match = _DRAFT.fullmatch(draft.name)
        if match and (match["host"] is None or _left_behind(draft, match["host"], int(match["process"]))):
            left.append(draft)
    return sorted(left)


def _left_behind(draft: Path, host: str, process: int) -> bool:
    if host == _host():
        return process != os.getpid() and not Path(f"/proc/{process}").exists() if Path("/proc").is_dir() else True
    try:
        return time.time() - draft.stat().st_mtime > OLD_S
    except FileNotFoundError:  # its writer has just renamed it
        return False


def _host() -> str:
    """The machine's name without dots, which separate the parts of a draft's name."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", socket.gethostname()) or "host"
