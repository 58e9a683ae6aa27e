"""What tests ask of processes that may end while they are asked."""

from __future__ import annotations

import psutil


def has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
