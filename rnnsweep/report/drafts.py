"""Files of a report appear whole: under a name of the writing process first."""

from __future__ import annotations

import os
import re
from pathlib import Path

_DRAFT = re.compile(r"\..+\.\d+")


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that a reader sees all of it or what was there before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
    return path


def remove_drafts(folder: Path) -> int:
    """Delete what writers that were killed have left in a report's folder; returns how many there were."""
    drafts = [path for path in folder.glob(".*") if _DRAFT.fullmatch(path.name)] if folder.is_dir() else []
    for path in drafts:
        path.unlink(missing_ok=True)
    return len(drafts)
