"""A server that ends with whoever started it, however that one ends: by its own will, SIGTERM, SIGHUP or SIGKILL.

Between the two stands a small process. It holds one end of a pipe whose other end is open in the starter alone: when
the starter is gone, the system closes it, and the server with all its processes is ended. No signal need be caught for
that, and none can be missed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

LOOK_S = 0.2
"""Seconds between looks at the server."""
GRACE_S = 5.0
"""Seconds that it may take to end by itself."""


class DependentProcess(subprocess.Popen[bytes]):
    """A command that runs as long as this process does, at most; silent, in a session of its own.

    `terminate` ends it with all that it has started; its exit status is that of the command.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        lifeline, self._lifeline = os.pipe()  # ours is not inherited: no other child keeps it open after us
        guard = [sys.executable, "-m", __name__, str(lifeline), *command]
        try:
            super().__init__(
                guard,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lifeline,),
                start_new_session=True,  # Ctrl-C in the terminal is for the starter
            )
        finally:
            os.close(lifeline)


def guard(lifeline: int, command: Sequence[str]) -> int:
    """Run the command until it ends, the pipe's other end closes, or a signal asks for it; returns its status."""
    asked: list[int] = []

    def caught(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, caught)
    child = subprocess.Popen(command, start_new_session=True)
    while child.poll() is None and not asked:
        readable, _, _ = select.select([lifeline], [], [], LOOK_S)
        if readable:  # nothing is ever written: it is the end
            break
    return end(child)


def end(child: subprocess.Popen[bytes]) -> int:
    """End a process that leads a group, and all of that group: first by asking, then without."""
    deadline = time.monotonic() + GRACE_S
    _signal(child.pid, signal.SIGTERM)
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(child.pid, signal.SIGKILL)  # whoever is left of the group, when its leader has gone too
    return child.wait()


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]) & 0xFF)
