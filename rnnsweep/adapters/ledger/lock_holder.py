"""Who holds a lock, said such that another process on the same machine can tell whether that one is dead."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process(holder: str) -> dict[str, Any]:
    """This process as the lock's row names it.

    Args:
        holder: words for people, e.g. the command that runs.

    Returns:
        ``machine`` is one boot of one kernel seen from one PID namespace ("" where the system does not tell),
        ``started`` the process's start in clock ticks since that boot: together with the PID they name a process
        for ever. ``nonce`` tells two calls of one process apart.
    """
    return {
        "holder": holder,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "machine": _machine(),
        "nonce": uuid.uuid4().hex,
    }


def display(identity: Mapping[str, Any]) -> str:
    """The holder for an error message."""
    return f"{identity['holder']}, pid {identity['pid']} on {identity['host']}"


def known_dead(identity: Mapping[str, Any]) -> bool:
    """Whether that process certainly has ended: False for other machines, containers and whenever in doubt."""
    if not identity["machine"] or identity["machine"] != _machine():
        return False
    try:
        # signal 0 asks only
        os.kill(identity["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:  # exists, but belongs to somebody else
        return False
    started = _started(identity["pid"])
    # PIDs are used again: another start time is another process
    return started == "ended" or bool(started and identity["started"] and started != identity["started"])


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # host names are no proof: containers share a kernel and count their PIDs apart
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Start time in clock ticks since boot; "ended" for a zombie, "" where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()  # the command name before it may hold spaces and parentheses
    return "ended" if state in "ZX" else rest[18]
